"""SIGTERM and SIGINT: remembered when they come, obeyed where nothing is lost."""

import signal
from typing import ClassVar

import jax
from jax.experimental import multihost_utils


class StoppedError(Exception):
    """The run was asked to stop, and what it had done is saved."""


class StopSignal:
    """Within the context SIGTERM and SIGINT are remembered; loops look for them. A second one ends the process at once.

    Several processes get a signal each at its own moment, and must stop at the same place: they agree on one by JAX's
    preemption service, which listens to SIGTERM by itself. All of them look equally often.

    A context within another takes over until it ends, with the signal that the outer one has received.
    """

    _current: ClassVar["StopSignal | None"] = None
    _looks: ClassVar[int] = 0

    def __init__(self) -> None:
        """Nothing has been received yet."""
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
        """The name of the signal that has come, or nothing; of several processes the same for all."""
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


def stop_if_asked() -> None:
    """Looks for a signal, between two batches of a loop without a state to save; does nothing outside a `StopSignal`.

    Raises:
        StoppedError: one has come.
    """
    if StopSignal._current and (name := StopSignal._current.received):
        raise StoppedError(f"stopped by {name}")
