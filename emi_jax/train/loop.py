"""The loop."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from emi_jax.train.clock import DATA, STEP, Clock
from emi_jax.train.hooks import Hook
from emi_jax.train.step import Metrics, TrainState


def fit(
    step: Callable[[TrainState, Any, jax.Array], tuple[TrainState, Metrics]],
    state: TrainState,
    batches: Iterator[Any],
    rng: jax.Array,
    hooks: Sequence[Hook],
    clock: Clock,
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
        clock: is told when the loop waits for data and for the step.
        first_step: steps taken before.
        steps: steps of the whole run.
    """
    for number in range(first_step, steps):
        with clock.measure(DATA):
            batch = next(batches)
        with clock.measure(STEP), jax.profiler.StepTraceAnnotation("train", step_num=number + 1):
            state, metrics = step(state, batch, rng)
        for hook in hooks:
            hook(number + 1, state, metrics)
    return state
