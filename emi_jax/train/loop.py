"""The loop."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from emi_jax.train.hooks import Hook
from emi_jax.train.step import Metrics, TrainState


class Timed:
    """An iterator that adds up the seconds for which its consumer has waited."""

    def __init__(self, source: Iterator[Any]):
        self._source, self.seconds = source, 0.0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        start = time.perf_counter()
        item = next(self._source)
        self.seconds += time.perf_counter() - start
        return item


def fit(
    step: Callable[[TrainState, Any, jax.Array], tuple[TrainState, Metrics]],
    state: TrainState,
    batches: Iterator[Any],
    rng: jax.Array,
    hooks: Sequence[Hook],
    *,
    first_step: int,
    steps: int,
) -> TrainState:
    """Trains.

    Args:
        step: mapped and compiled; the state it gets is donated.
        state: after `first_step` steps.
        batches: on the devices, from batch number `first_step` on.
        rng: of the whole run; a step folds its number in.
        hooks: called in order after every step.
        first_step: steps taken before.
        steps: steps of the whole run.
    """
    for number in range(first_step, steps):
        state, metrics = step(state, next(batches), rng)
        for hook in hooks:
            hook(number + 1, state, metrics)
    return state
