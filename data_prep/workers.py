"""Runs one function over many clips in worker processes, and survives a clip that kills or hangs its worker."""

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import NoReturn, TypeVar

import cv2

from data_prep.errors import ClipError

Item = TypeVar("Item")
Result = TypeVar("Result")
TIME_LIMIT = 120.0  # seconds for one clip, unless told otherwise
QUEUED = 4  # items handed out per process: enough to keep it busy, few enough to retry one by one
GRACE = 5.0  # seconds after the time limit for Python to stop by itself, before the process is ended from outside it


def map_clips(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int, seconds: float | None = None
) -> Iterator[tuple[Item, Result | Exception]]:
    """Yields (item, result) as they come, in any order; a ClipError is yielded in the result's place.

    A worker that dies (a decoder's crash, memory) takes its pool along: the items it may have been at are tried
    again, each in a process of its own, and the one that kills it again is yielded with a ClipError. Workers end when
    this process does, however it ends.

    Args:
        function: what is done with each item; it and the items travel to other processes.
        items: the clips.
        processes: how many at once.
        seconds: an item that takes longer is yielded with a ClipError; None waits for ever.
    """
    waiting = list(reversed(items))
    while waiting:
        suspects: list[Item] = []
        with _pool(processes) as pool:
            running: dict[Future, Item] = {}
            while (waiting and not suspects) or running:
                while waiting and not suspects and len(running) < QUEUED * processes:
                    item = waiting.pop()
                    try:
                        running[pool.submit(_guarded, function, item, seconds)] = item
                    except BrokenProcessPool:
                        suspects.append(item)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    item = running.pop(future)
                    try:
                        yield item, future.result()
                    except BrokenProcessPool:
                        suspects.append(item)
        for item in suspects:
            with _pool(1) as pool:
                try:
                    yield item, pool.submit(_guarded, function, item, seconds).result()
                except BrokenProcessPool:
                    yield item, ClipError(_name(item), "the process that read it died, or hung and was ended")


def count_cpus() -> int:
    """The CPUs that this process may use, where the system tells, else those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _guarded(function: Callable[[Item], Result], item: Item, seconds: float | None) -> Result | Exception:
    try:
        with _time_limit(_name(item), seconds):
            return function(item)
    except ClipError as error:
        return error


@contextlib.contextmanager
def _time_limit(name: str, seconds: float | None) -> Iterator[None]:
    """Raises ClipError after so many seconds; where native code does not come back, the process ends after GRACE."""
    if seconds is None:
        yield
        return

    def stop(number: int, frame: object) -> NoReturn:
        raise ClipError(name, f"took longer than the time limit of {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=nowhere)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
            signal.signal(signal.SIGALRM, before)


def _name(item: object) -> str:
    return getattr(item, "id", repr(item))


def _pool(processes: int) -> ProcessPoolExecutor:
    """Fresh processes: forking one that has threads (JAX, FFmpeg) can hang."""
    return ProcessPoolExecutor(max(1, processes), multiprocessing.get_context("spawn"), _start_worker)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's worker waits for work for ever when the process that hands it out was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
