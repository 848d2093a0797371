"""From the steps of a sequence to one vector."""

import jax.numpy as jnp
from jax import Array


def masked_mean(x: Array, mask: Array) -> Array:
    """Mean of x [B, T, D] over the valid steps of mask, bool [B, T]: float32 [B, D], 0 where there are none."""
    total = jnp.where(mask[..., None], x, 0).astype(jnp.float32).sum(1)
    return total / jnp.maximum(mask.sum(1, keepdims=True), 1)
