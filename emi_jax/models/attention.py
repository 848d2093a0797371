"""The attention of all encoders: `jax.nn.dot_product_attention`, by XLA's kernel or cuDNN's."""

from typing import Literal

import jax
import jax.numpy as jnp

Kernel = Literal["xla", "cudnn"]


def attend(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None, kernel: Kernel | None
) -> jax.Array:
    """Scaled dot-product attention (Vaswani et al. 2017, Eq. 1).

    Args:
        query: `[B, T, heads, D / heads]`; cuDNN's kernel takes half precision alone.
        key: like query.
        value: like query.
        mask: bool, broadcast to `[B, heads, T, T]` (query, key), or None. A query that may see no key gets a finite
            value, with finite gradients, that means nothing.
        kernel: "cudnn" has to be asked for; None is XLA's.

    Returns:
        Like query.
    """
    if kernel != "cudnn" or mask is None:
        return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=kernel)
    T = query.shape[1]
    query, key, value, mask = fit_to_cudnn(query, key, value, mask)
    return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation=kernel)[:, :T]


def fit_to_cudnn(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Arrays as cuDNN's kernel takes them beside a mask: it wants an even T and a mask that names every query.

    Args:
        query: `[B, T, heads, D / heads]`.
        key: like query.
        value: like query.
        mask: bool, broadcast to `[B, heads, T, T]`.

    Returns:
        The same, with one more step that no query sees where T is odd, and the mask with a row for each query.
    """
    T = query.shape[1]
    mask = jnp.broadcast_to(mask, (*mask.shape[:2], T, T))
    if T % 2 == 0:
        return query, key, value, mask
    query, key, value = (jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0))) for x in (query, key, value))
    return query, key, value, jnp.pad(mask, ((0, 0), (0, 0), (0, 1), (0, 1)))
