"""SIGTERM and SIGINT: recorded on arrival, acted on only where no work is lost."""

import signal
from typing import ClassVar

import jax
from jax.experimental import multihost_utils


class StoppedError(Exception):
    """The run stopped on a signal after saving its work."""


class StopSignal:
    """A context that records SIGTERM and SIGINT for loops to poll. A second signal ends the process at once.

    Several processes receive a signal at different moments but must stop after the same step. They agree on the step
    through JAX's preemption service, which handles SIGTERM on its own. All processes must poll equally often.

    A nested context replaces the outer one until it exits, and starts with the signal that the outer one received.
    """

    _current: ClassVar["StopSignal | None"] = None
    _looks: ClassVar[int] = 0

    def __init__(self) -> None:
        """Starts with no signal received."""
        self._name = ""

    def __enter__(self) -> "StopSignal":
        heard = (signal.SIGTERM, signal.SIGINT) if jax.process_count() == 1 else ()
        self._before = {number: signal.signal(number, self._remember) for number in heard}
        self._outer, StopSignal._current = StopSignal._current, self
        if self._outer and not self._name:
            self._name = self._outer._name
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        StopSignal._current = self._outer
        if self._outer and self._name:
            self._outer._name = self._name

    @property
    def received(self) -> str:
        """The name of the received signal, or an empty string; the same in all processes."""
        if jax.process_count() > 1 and not self._name:
            StopSignal._looks += 1
            if multihost_utils.reached_preemption_sync_point(StopSignal._looks):
                self._name = signal.SIGTERM.name
        return self._name

    def _remember(self, number: int, frame: object) -> None:
        if self._name:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._name = signal.Signals(number).name


def stop_if_signalled() -> None:
    """Polls for a signal between the batches of a loop that has no state to save; no effect outside a `StopSignal`.

    Raises:
        StoppedError: a signal was received.
    """
    if StopSignal._current and (name := StopSignal._current.received):
        raise StoppedError(f"stopped by {name}")
