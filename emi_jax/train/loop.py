"""The training loop."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax

from emi_jax.train.clock import DATA, STEP, Clock
from emi_jax.train.hooks import Hook
from emi_jax.train.programs import Programs
from emi_jax.train.step import TrainState


def fit(
    step: Programs,
    state: TrainState,
    batches: Iterator[Any],
    rng: jax.Array,
    hooks: Sequence[Hook],
    clock: Clock,
    *,
    first_step: int,
    steps: int,
) -> TrainState:
    """Runs the training loop.

    Args:
        step: the mapped step, which donates its state.
        state: the state after `first_step` steps.
        batches: batches on the devices, starting at number `first_step`.
        rng: the PRNG key of the whole run; each step folds in its number.
        hooks: called in order after every step.
        clock: measures how long the loop waits for data and for the step; compilation is neither.
        first_step: number of steps completed before.
        steps: number of steps in the whole run.
    """
    for number in range(first_step, steps):
        with clock.measure(DATA):
            batch = next(batches)
        program = step.program(state, batch, rng)
        with clock.measure(STEP), jax.profiler.StepTraceAnnotation("train", step_num=number + 1):
            state, metrics = program(state, batch, rng)
        for hook in hooks:
            hook(number + 1, state, metrics)
    return state
