"""Maps a function over clips in worker processes. A clip that crashes or hangs its worker affects no other clip."""

import collections
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, TypeVar

import cv2
from pebble import ProcessExpired, ProcessPool

from data_prep.errors import ClipError
from emi_jax.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
TIME_LIMIT = 120.0
"""Default time limit per clip, in seconds."""
QUEUED = 2
"""Items in flight per process: one in work and one waiting, so that no worker idles."""
START_LIMIT = 60.0
"""Seconds within which workers must start an item."""
ATTEMPTS = 3
"""Number of pools that may break in a row without a single result."""


def map_clips(
    function: Callable[[Item], Result], items: Iterable[Item], processes: int, seconds: float | None = None
) -> Iterator[tuple[Item, Result | ClipError]]:
    """Applies a function to every item and yields (item, result) in order of completion.

    A ClipError takes the place of the result if the function raised it, if the item took longer than the time limit, or
    if its worker died (a crash of a decoder, lack of memory). Few items are in flight at any time, so memory does not
    grow with the number of items. Workers end when this process ends, even if it is killed.

    Args:
        function: picklable function of one item.
        items: picklable items; a deque is emptied, and may be filled further between results.
        processes: number of worker processes, at least 1.
        seconds: time limit per item; None for no limit.

    Raises:
        ValueError: `processes` is not positive.
        UserError: workers do not start.
        Exception: any exception other than ClipError that the function raises.
    """
    if processes < 1:
        raise ValueError(f"processes: found {processes}, expected at least 1")
    waiting, failures = items if isinstance(items, collections.deque) else collections.deque(items), 0
    while waiting:
        try:
            for pair in _map_in_pool(function, waiting, processes, seconds):
                failures = 0
                yield pair
        except BrokenProcessPool as error:
            failures += 1
            if failures == ATTEMPTS:
                raise _unusable(error) from error


class WorkerPool(Generic[Item, Result]):
    """Worker processes that stay, for items that come one at a time. A context that ends them when it is left.

    A worker that crashes or exceeds the time limit is replaced.
    """

    def __init__(self, function: Callable[[Item], Result], processes: int, seconds: float | None = None):
        """Describes the pool; its processes start with the first item.

        Args:
            function: picklable function of one item.
            processes: number of worker processes.
            seconds: time limit per item; None for no limit.
        """
        self._function, self._processes, self._seconds = function, processes, seconds
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None
        self._running: set[Future] = set()
        self._left = False

    def __enter__(self) -> "WorkerPool[Item, Result]":
        return self

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._left = True
            for future in self._running:
                future.cancel()
            if self._pool is not None:
                self._pool.stop()
                self._pool.join()

    def __call__(self, item: Item) -> Result | ClipError:
        """Applies the function to an item, as `map_clips` does. Threads may call this, at most one for each process.

        Args:
            item: picklable.

        Raises:
            UserError: workers do not start.
            concurrent.futures.CancelledError: the context is left.
            Exception: any exception other than ClipError that the function raises.
        """
        for attempt in range(1, ATTEMPTS + 1):
            future = self._schedule(item)
            try:
                while not _is_done(future):
                    if not future.running():
                        raise _unusable(f"no item was started within {START_LIMIT:g} s")
                return _result(future, item, self._seconds)
            except BrokenProcessPool as error:
                if attempt == ATTEMPTS:
                    raise _unusable(error) from error
            finally:
                with self._lock:
                    self._running.discard(future)
        raise AssertionError("the last attempt returns or raises")

    def _schedule(self, item: Item) -> "Future[Result]":
        with self._lock:
            if self._left:
                raise CancelledError
            if self._pool is not None and not self._pool.active:  # broken
                self._pool.join()
                self._pool = None
            self._pool = self._pool or _new_pool(self._processes)
            future = self._pool.schedule(self._function, (item,), timeout=self._seconds)
            self._running.add(future)
            return future


def _is_done(future: Future) -> bool:
    """Waits until a future is done, for `START_LIMIT` at most.

    Raises:
        CancelledError: it is cancelled, also if the pool was stopped before it took note of that, which
            `concurrent.futures.wait` would wait for.
    """
    try:
        future.exception(START_LIMIT)
    except TimeoutError:
        return False
    return True


def _map_in_pool(
    function: Callable[[Item], Result], waiting: "collections.deque[Item]", processes: int, seconds: float | None
) -> Iterator[tuple[Item, Result | ClipError]]:
    """Takes items from `waiting`; items without a result when the pool breaks are put back.

    Raises:
        BrokenProcessPool: workers died without an item, or an item was lost with its worker before it was reported as
            started. In both cases, the cause need not be an item.
    """
    pool = _new_pool(processes)
    running: dict[Future, Item] = {}
    try:
        while waiting or running:
            while waiting and len(running) < QUEUED * processes:
                item = waiting.popleft()
                running[pool.schedule(function, (item,), timeout=seconds)] = item
            done = wait(running, START_LIMIT, FIRST_COMPLETED).done
            if not done and not any(future.running() for future in running):
                raise BrokenProcessPool(f"no item was started within {START_LIMIT:g} s")
            for future in done:
                result = _result(future, running[future], seconds)
                yield running.pop(future), result
    finally:
        waiting.extendleft(running.values())
        pool.stop()
        pool.join()


def _new_pool(processes: int) -> ProcessPool:
    # Spawned: forking a process that has threads (JAX, FFmpeg) can deadlock.
    return ProcessPool(processes, initializer=_start_worker, context=multiprocessing.get_context("spawn"))


def _unusable(reason: object) -> UserError:
    return UserError(
        f"the processes that read clips do not work here: {reason}; rerun the same command when the machine has more "
        "memory and processor time to spare"
    )


def _result(future: "Future[Result]", item: object, seconds: float | None) -> Result | ClipError:
    name = str(getattr(item, "id", item))
    try:
        return future.result()
    except ClipError as error:
        return error
    except TimeoutError as error:
        if isinstance(error.errno, int):  # raised by the function: a network file system timed out
            raise
        return ClipError(name, f"took longer than the time limit of {seconds:g} s")
    except ProcessExpired as error:
        return ClipError(name, f"the process that read it died ({_cause(error.exitcode)})")


def _cause(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"


def _start_worker() -> None:
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends a worker whose parent was killed: otherwise it would wait forever for its next item."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
