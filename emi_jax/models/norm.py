"""Layer normalisation with a gradient of its own."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp


class LayerNorm(nn.Module):
    """Brings each vector to zero mean and unit variance, then scales and shifts it (Ba et al. 2016, Eq. 4).

    Attributes:
        epsilon: added to the variance.
    """

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x, float32 `[..., D]`, to the same shape and dtype."""
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[-1],))
        return layer_norm(x, scale, bias, self.epsilon)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> jax.Array:
    """The function of `LayerNorm`, with scale and bias `[D]`.

    Its gradient is one expression. Of JAX's own XLA on the CPU makes sums that it takes anew in every layer below, so
    that a stack of L layers costs L^2 of them (docs/performance.md).
    """
    return _forward(x, scale, bias, epsilon)[0]


def _forward(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    # In two passes: the one-pass form (mean of squares) loses digits where the mean is large.
    mean = x.mean(axis=-1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.square(x - mean).mean(axis=-1, keepdims=True) + epsilon)
    return (x - mean) * inverse * _row(scale, x) + _row(bias, x), (x, mean, inverse, scale)


def _backward(
    epsilon: float, residuals: tuple[jax.Array, ...], gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, mean, inverse, scale = residuals
    normal, scaled = (x - mean) * inverse, gradient * _row(scale, x)
    along = (scaled * normal).mean(axis=-1, keepdims=True)
    into_x = inverse * (scaled - scaled.mean(axis=-1, keepdims=True) - normal * along)
    rows = tuple(range(x.ndim - 1))
    return into_x, (gradient * normal).sum(axis=rows), gradient.sum(axis=rows)


layer_norm.defvjp(_forward, _backward)


def _row(vector: jax.Array, x: jax.Array) -> jax.Array:
    """A vector `[D]` with as many axes as x."""
    return vector.reshape((1,) * (x.ndim - 1) + (-1,))
