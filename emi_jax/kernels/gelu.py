"""The exact GELU, and a form for accelerators that keeps nothing but its input for the backward pass."""

import math

import jax
import jax.numpy as jnp
from jax import lax


def reference(x: jax.Array) -> jax.Array:
    """The plain form of `gelu`."""
    return jax.nn.gelu(x, approximate=False)


@jax.jit  # traced once for each shape
def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU (Hendrycks and Gimpel 2016), x Phi(x), by the error function; JAX's default is an approximation.

    Args:
        x: float, any shape.

    Returns:
        Like x.
    """
    return lax.platform_dependent(x, cpu=reference, default=tuned)


@jax.custom_vjp
def tuned(x: jax.Array) -> jax.Array:
    """The form for accelerators, where reading and writing an array takes longer than evaluating it anew.

    Differentiated as it stands, `reference` writes what its gradient needs in float32 in the forward pass. This one's
    gradient is of x alone, which XLA makes from the product before it.
    """
    return reference(x)


def _forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return reference(x), x


def _backward(x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    """The cotangent times Phi(x) + x phi(x); by `erf`, since XLA would keep what is the same as in `reference`."""
    cumulative = (1 + lax.erf(x * math.sqrt(0.5))) / 2
    density = jnp.exp(-jnp.square(x) / 2) / math.sqrt(2 * math.pi)
    return (cotangent * (cumulative + x * density),)


tuned.defvjp(_forward, _backward)
