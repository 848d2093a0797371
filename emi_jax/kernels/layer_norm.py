"""The layer norm, and a form for accelerators with its own gradient."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax


def reference(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """The plain form of `layer_norm`."""
    mean, deviation = _statistics(x, epsilon)
    return _apply(x, mean, deviation, scale, bias)


def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Normalises the last axis (Ba et al. 2016), with the variance taken in two passes.

    The mean of squares less the squared mean loses digits where the mean is large, and checkpoints were trained
    without that loss.

    Args:
        x: float32 `[N, D]`.
        scale: float32 `[D]`.
        bias: float32 `[D]`.
        epsilon: added to the variance.

    Returns:
        Like x.
    """
    forms = {"cpu": partial(reference, epsilon=epsilon), "default": partial(tuned, epsilon)}
    return lax.platform_dependent(x, scale, bias, **forms)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def tuned(epsilon: float, x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """The form for accelerators: its gradient reads x and the cotangent twice, and keeps nothing between."""
    return reference(x, scale, bias, epsilon)


def _forward(
    epsilon: float, x: jax.Array, scale: jax.Array, bias: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    mean, deviation = _statistics(x, epsilon)
    return _apply(x, mean, deviation, scale, bias), (x, mean, deviation, scale)


def _backward(
    epsilon: float, saved: tuple[jax.Array, ...], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """With z the normalised x and g = cotangent * scale: (g - mean(g) - z mean(g z)) / deviation."""
    x, mean, deviation, scale = saved
    mean, deviation = lax.optimization_barrier((mean, deviation))  # or XLA would make z in the forward pass and keep it
    z = (x - mean) * deviation
    g = cotangent * scale[None]
    dx = deviation * (g - g.mean(-1, keepdims=True) - z * (g * z).mean(-1, keepdims=True))
    return dx, (cotangent * z).sum(0), cotangent.sum(0)


def _statistics(x: jax.Array, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """Mean and 1 / sqrt(variance + epsilon) of each row, `[N, 1]`."""
    mean = x.mean(-1, keepdims=True)
    return mean, lax.rsqrt(jnp.square(x - mean).mean(-1, keepdims=True) + epsilon)


def _apply(x: jax.Array, mean: jax.Array, deviation: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    return (x - mean) * (deviation * scale[None]) + bias[None]


tuned.defvjp(_forward, _backward)
