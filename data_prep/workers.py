"""Runs one function over many clips in worker processes, and survives a clip that kills its worker."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from data_prep.errors import ClipError

Item = TypeVar("Item")
Result = TypeVar("Result")
QUEUED = 4  # items handed out per process: enough to keep it busy, few enough to retry one by one


def map_clips(
    function: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Iterator[tuple[Item, Result | Exception]]:
    """Yields (item, result) as they come, in any order; a ClipError is yielded in the result's place.

    A worker that dies (a decoder's crash, memory) takes its pool along: the items it may have been at are tried
    again, each in a process of its own, and the one that kills it again is yielded with a ClipError.
    """
    if processes <= 1 and len(items) <= 1:
        for item in items:
            yield item, _guarded(function, item)
        return
    waiting = list(reversed(items))
    while waiting:
        suspects: list[Item] = []
        with _pool(processes) as pool:
            running: dict[Future, Item] = {}
            while (waiting and not suspects) or running:
                while waiting and not suspects and len(running) < QUEUED * processes:
                    item = waiting.pop()
                    try:
                        running[pool.submit(_guarded, function, item)] = item
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
                    yield item, pool.submit(_guarded, function, item).result()
                except BrokenProcessPool:
                    yield item, ClipError(getattr(item, "id", repr(item)), "the process that read it died")


def _guarded(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    try:
        return function(item)
    except ClipError as error:
        return error


def _pool(processes: int) -> ProcessPoolExecutor:
    """Fresh processes: forking one that has threads (JAX, FFmpeg) can hang."""
    return ProcessPoolExecutor(max(1, processes), multiprocessing.get_context("spawn"), cv2.setNumThreads, (1,))
