"""The exact GELU (Hendrycks and Gimpel 2016)."""

import math

from jax import Array, lax


def gelu(x: Array) -> Array:
    """Gives x P(X <= x) of a standard normal X, by the error function.

    `jax.nn.gelu(approximate=False)` takes the complementary one, which keeps more digits far below zero, where the
    result is next to nothing, and costs 1.6 times as much on the CPU (docs/performance.md).
    """
    return 0.5 * x * (1 + lax.erf(x * math.sqrt(0.5)))
