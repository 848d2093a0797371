"""Scaled dot-product attention: by matrix products that XLA compiles, or by cuDNN's fused kernel on NVIDIA GPUs."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

Implementation = Literal["xla", "cudnn"]


@partial(jax.jit, static_argnames="dropout_rate")  # traced once for each shape
def reference(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    attention_mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    keep: jax.Array | None = None,
    dropout_rate: float = 0.0,
) -> jax.Array:
    """The plain form of `dot_product_attention`."""
    logits = jnp.einsum("bthd,bshd->bhts", query, key, preferred_element_type=jnp.float32) * query.shape[-1] ** -0.5
    if bias is not None:
        logits = logits + bias
    if attention_mask is not None:
        logits = jnp.where(attention_mask, logits, jnp.finfo(logits.dtype).min / 2)
    weights = jax.nn.softmax(logits).astype(query.dtype)
    if keep is not None:
        weights = jnp.where(keep, weights / (1 - dropout_rate), 0)
    return jnp.einsum("bhts,bshd->bthd", weights, value, preferred_element_type=jnp.float32).astype(query.dtype)


def dot_product_attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    attention_mask: jax.Array | None = None,
    bias: jax.Array | None = None,
    implementation: Implementation | None = None,
    keep: jax.Array | None = None,
    dropout_rate: float = 0.0,
) -> jax.Array:
    """Scaled dot-product attention (Vaswani et al. 2017, Eq. 1).

    Args:
        query: `[B, T, heads, D / heads]`.
        key: `[B, S, heads, D / heads]`.
        value: like key.
        attention_mask: bool, broadcast to `[B, heads, T, S]`, True = visible, or None. A query that sees no key gets a
            finite value, with finite gradients, that means nothing.
        bias: float, broadcast to `[B, heads, T, S]`, added to the logits, or None.
        implementation: "cudnn" runs on NVIDIA GPUs in half precision, for T = S and without a bias. In a mask of keys
            alone, `[B, 1, 1, S]`, the visible keys must come first, since cuDNN reads their number. It has no dropout
            here: with `keep`, and for None, the plain form runs.
        keep: bool `[B, heads, T, S]`, the weights that dropout keeps, or None for all.
        dropout_rate: probability with which a weight was dropped; those that are kept are divided by 1 - dropout_rate.

    Returns:
        Like query.
    """
    if implementation == "cudnn" and keep is None and bias is None:
        return _cudnn(query, key, value, attention_mask)
    return reference(query, key, value, attention_mask, bias, keep, dropout_rate)


def _cudnn(query: jax.Array, key: jax.Array, value: jax.Array, attention_mask: jax.Array | None) -> jax.Array:
    """The kernel of cuDNN, which takes the number of visible keys, or a mask with a row for each query."""
    B, T = query.shape[:2]
    lengths = None
    if attention_mask is not None and attention_mask.shape[1:3] == (1, 1):
        lengths = jnp.maximum(attention_mask[:, 0, 0].sum(axis=-1, dtype=jnp.int32), 1)
        attention_mask = None
    elif attention_mask is not None:
        attention_mask = jnp.broadcast_to(attention_mask, (*attention_mask.shape[:2], T, T))
    if T % 2:  # JAX refuses to differentiate it: one more step, which no query sees
        query, key, value = (jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0))) for x in (query, key, value))
        if attention_mask is not None:
            attention_mask = jnp.pad(attention_mask, ((0, 0), (0, 0), (0, 1), (0, 1)))
        elif lengths is None:
            lengths = jnp.full((B,), T, jnp.int32)
    mixed = jax.nn.dot_product_attention(
        query, key, value, mask=attention_mask, key_value_seq_lengths=lengths, implementation="cudnn"
    )
    return mixed[:, :T]
