"""The attention of all encoders: by matrix products that XLA compiles, or by cuDNN's kernel."""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

Kernel = Literal["xla", "cudnn"]


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    kernel: Kernel | None,
    keep: jax.Array | None = None,
    rate: float = 0.0,
) -> jax.Array:
    """Scaled dot-product attention (Vaswani et al. 2017, Eq. 1).

    Args:
        query: `[B, T, heads, D / heads]`; cuDNN's kernel takes half precision alone.
        key: like query.
        value: like query.
        mask: bool, broadcast to `[B, heads, T, T]` (query, key), or None. A query that may see no key gets a finite
            value, with finite gradients, that means nothing.
        kernel: "cudnn" has to be asked for; None is XLA's. With dropout it is always XLA's: cuDNN's has none here.
        keep: bool `[B, heads, T, T]`, the weights that dropout leaves, or None for all.
        rate: the chance that dropout took a weight; those that are left are divided by 1 - rate.

    Returns:
        Like query.
    """
    if kernel != "cudnn" or keep is not None:
        return _attend(query, key, value, mask, keep, rate)
    T = query.shape[1]
    if mask is not None:
        query, key, value, mask = fit_to_cudnn(query, key, value, mask)
    return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation="cudnn")[:, :T]


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    keep: jax.Array | None,
    rate: float,
) -> jax.Array:
    """As `attend`, with a gradient that keeps the weights alone, in the dtype of the operands.

    That of `jax.nn.dot_product_attention` takes longer on the CPU (docs/performance.md): it lays arrays of
    `[B, heads, T, T]` out anew, and keeps more of them.
    """
    return _attend_forward(query, key, value, mask, keep, rate)[0]


def _attend_forward(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array | None,
    keep: jax.Array | None,
    rate: float,
) -> tuple[jax.Array, tuple[jax.Array | None, ...]]:
    query, key, value = (_swap(x) for x in (query, key, value))
    logits = _einsum("bhtd,bhsd->bhts", query, key) * query.shape[-1] ** -0.5
    if mask is not None:
        logits = jnp.where(mask, logits, jnp.finfo(logits.dtype).min / 2)
    weights = jax.nn.softmax(logits).astype(query.dtype)
    mixed = _einsum("bhts,bhsd->bhtd", _drop(weights, keep, rate), value).astype(query.dtype)
    return _swap(mixed), (query, key, value, weights, keep)


def _attend_backward(
    rate: float, residuals: tuple[jax.Array, ...], gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None, None]:
    query, key, value, weights, keep = residuals
    gradient = _swap(gradient)
    into_value = _einsum("bhts,bhtd->bhsd", _drop(weights, keep, rate), gradient)
    into_weights = _drop(_einsum("bhtd,bhsd->bhts", gradient, value), keep, rate)
    wide = weights.astype(into_weights.dtype)
    into_logits = wide * (into_weights - (wide * into_weights).sum(axis=-1, keepdims=True))
    into_logits = (into_logits * query.shape[-1] ** -0.5).astype(query.dtype)
    into_query = _einsum("bhts,bhsd->bhtd", into_logits, key)
    into_key = _einsum("bhts,bhtd->bhsd", into_logits, query)
    into_query, into_key, into_value = (_swap(x.astype(query.dtype)) for x in (into_query, into_key, into_value))
    return into_query, into_key, into_value, None, None


_attend.defvjp(_attend_forward, _attend_backward)


def _drop(x: jax.Array, keep: jax.Array | None, rate: float) -> jax.Array:
    return x if keep is None else jnp.where(keep, x / (1 - rate), 0)


def _swap(x: jax.Array) -> jax.Array:
    """[B, T, heads, D / heads] to [B, heads, T, D / heads], and back."""
    return x.transpose(0, 2, 1, 3)


def _einsum(form: str, left: jax.Array, right: jax.Array) -> jax.Array:
    """A product of operands of one dtype, summed in float32 at least."""
    return jnp.einsum(form, left, right, preferred_element_type=jnp.promote_types(left.dtype, jnp.float32))


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
