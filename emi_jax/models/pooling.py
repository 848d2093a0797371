"""From the steps of a sequence to one vector."""

import jax.numpy as jnp
from jax import Array

TOKENS = ("first", "last", "mean")


def masked_mean(x: Array, mask: Array) -> Array:
    """Mean of x [B, T, D] over the valid steps of mask, bool [B, T]: float32 [B, D], 0 where there are none."""
    total = jnp.where(mask[..., None], x, 0).astype(jnp.float32).sum(1)
    return total / jnp.maximum(mask.sum(1, keepdims=True), 1)


def text_vector(x: Array, mask: Array, token: str) -> Array:
    """The vector that stands for a text, from its tokens.

    Args:
        x: [B, L, D].
        mask: bool [B, L].
        token: "first" valid token, which is the class token of BERT and its kin; "last", the end token of CLIP; "mean"
            over the valid tokens, for encoders with neither.

    Returns:
        float32 [B, D], 0 for a text without a valid token.
    """
    if token == "mean":
        return masked_mean(x, mask)
    place = mask.argmax(1) if token == "first" else mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
    chosen = jnp.arange(mask.shape[1])[None, :] == place[:, None]
    return masked_mean(x, mask & chosen)
