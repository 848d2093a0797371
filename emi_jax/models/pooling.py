"""From the steps of a sequence to one vector."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

TOKENS = ("first", "last", "mean")
MEAN, CLASS, ATTENTION = POOLINGS = ("mean", "class", "attention")
"""The mean, the encoder's own vector (a class or end token, its pooler), or learned attention."""

_LOWEST = -1e30


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


class AttentionPooling(nn.Module):
    """A mean weighted by the softmax of a learned score, x q / sqrt(D); all weights are equal at the start."""

    @nn.compact
    def __call__(self, x: Array, mask: Array | None = None) -> Array:
        """Pools x [..., T, D] over the valid steps of mask, bool [..., T]: float32 [..., D], 0 where there are none."""
        x = x.astype(jnp.float32)
        query = self.param("query", nn.initializers.zeros_init(), x.shape[-1:])
        scores = x @ query / x.shape[-1] ** 0.5
        if mask is None:
            return jnp.einsum("...t,...td->...d", jax.nn.softmax(scores), x)
        weights = jax.nn.softmax(jnp.where(mask, scores, _LOWEST)) * mask
        return jnp.einsum("...t,...td->...d", weights, jnp.where(mask[..., None], x, 0))
