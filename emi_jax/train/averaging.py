"""Averages of the parameters over steps, which are evaluated instead of the parameters themselves."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Averaging = Callable[[jax.Array], jax.Array | float]
"""From the number of a step, counted from 1, to the weight in the average of the parameters after it.

The average so far has the rest of the weight. Before the first step it equals the initial parameters.
"""


def exponential(decay: float) -> Averaging:
    """The exponential moving average (EMA)."""
    return lambda step: 1.0 - decay


def equal_from(first: int) -> Averaging:
    """The mean of the parameters after step `first` and all later ones; before that step, the parameters themselves.

    Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407), over steps instead of epochs.
    """
    return lambda step: 1.0 / jnp.maximum(step - first + 1, 1)


def averaging(ema: float, swa: float, steps: int) -> Averaging | None:
    """The average that a config describes; None for none.

    Args:
        ema: decay of the moving average, 0 for none.
        swa: share of the run, its last part, over which parameters count alike, 0 for none.
        steps: number of steps in the whole run.
    """
    if ema:
        return exponential(ema)
    return equal_from(steps - max(1, round(swa * steps)) + 1) if swa else None
