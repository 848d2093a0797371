"""Measures how a run spends its time."""

import contextlib
import time
from collections.abc import Iterator

DATA, STEP, REST = "data", "step", "rest"


class Clock:
    """Adds up the host's time: waiting for data, waiting for the step, and the rest (evaluation, checkpoints, logs).

    A step is dispatched and runs asynchronously; the time counted for it is the call and the fetching of its results.
    """

    def __init__(self) -> None:
        """Starts the clock."""
        self._since = time.perf_counter()
        self._spent = {DATA: 0.0, STEP: 0.0}

    @contextlib.contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Adds the time within the context to `DATA` or `STEP`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent[part] += time.perf_counter() - start

    def lap(self) -> dict[str, float]:
        """Seconds since the last call, by part; the parts add up to the elapsed time."""
        now = time.perf_counter()
        spent = self._spent | {REST: now - self._since - sum(self._spent.values())}
        self._since, self._spent = now, {DATA: 0.0, STEP: 0.0}
        return spent
