"""The layer norm, and a form for accelerators with its own gradient."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


def reference(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """The plain form of `layer_norm`: Flax's."""
    norm = nn.LayerNorm(epsilon, use_fast_variance=False)
    return norm.bind({"params": {"scale": scale, "bias": bias}})(x)


@partial(jax.jit, static_argnames="epsilon")  # traced once for each shape
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """Normalises the last axis (Ba et al. 2016), with the variance taken in two passes.

    The mean of squares less the squared mean loses digits where the mean is large, and checkpoints were trained
    without that loss.

    Args:
        x: float32 `[..., D]`.
        scale: float32 `[D]`.
        bias: float32 `[D]`.
        epsilon: added to the variance.

    Returns:
        Like x.
    """
    forms = {"cpu": partial(reference, epsilon=epsilon), "default": partial(tuned, epsilon=epsilon)}
    return lax.platform_dependent(x, scale, bias, **forms)


def tuned(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """The form for accelerators: its gradient reads x and the cotangent twice, and keeps nothing between.

    It is of rows: where batch and time are separate axes, XLA turns the array about for sums over one of them.
    """
    return _of_rows(epsilon, x.reshape(-1, x.shape[-1]), scale, bias).reshape(x.shape)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _of_rows(epsilon: float, x: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    return _forward(epsilon, x, scale, bias)[0]


def _forward(
    epsilon: float, x: jax.Array, scale: jax.Array, bias: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    mean = x.mean(-1, keepdims=True)
    inverse = lax.rsqrt(jnp.square(x - mean).mean(-1, keepdims=True) + epsilon)
    return (x - mean) * (inverse * scale[None]) + bias[None], (x, mean, inverse, scale)


def _backward(
    epsilon: float, saved: tuple[jax.Array, ...], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """With z the normalised x and g = cotangent * scale: (g - mean(g) - z mean(g z)) / deviation."""
    x, mean, inverse, scale = saved
    mean, inverse = lax.optimization_barrier((mean, inverse))  # or XLA would make z in the forward pass and keep it
    z = (x - mean) * inverse
    g = cotangent * scale[None]
    dx = inverse * (g - g.mean(-1, keepdims=True) - z * (g * z).mean(-1, keepdims=True))
    return dx, (cotangent * z).sum(0), cotangent.sum(0)


_of_rows.defvjp(_forward, _backward)
