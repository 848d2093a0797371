"""Attention logits by relative position: WavLM's gated bias and the relative keys of Shaw et al."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from emi_jax.models.dense import Dense


def buckets(steps: int, num_buckets: int, max_distance: int) -> np.ndarray:
    """The bucket of each (query, key) distance, as in T5 (Raffel et al. 2020) and WavLM (Chen et al. 2022, Eq. 4).

    Half of the buckets are for keys after the query. Of each half, the first half holds one distance each; the others
    grow logarithmically up to `max_distance`.

    Args:
        steps: T.
        num_buckets: of both directions together.
        max_distance: from here on, all distances share the last bucket of their direction.

    Returns:
        int `[T, T]`.
    """
    distance = np.arange(steps)[None] - np.arange(steps)[:, None]
    half, exact = num_buckets // 2, num_buckets // 4
    size = np.maximum(np.abs(distance), 1).astype(np.float32)
    share = np.log(size / np.float32(exact)) / np.float32(math.log(max_distance / exact))
    far = np.minimum(exact + (share * (half - exact)).astype(np.int64), half - 1)
    return np.where(distance > 0, half, 0) + np.where(np.abs(distance) < exact, np.abs(distance), far)


class RelativeBias(nn.Module):
    """A learned logit for each head and bucket of distances (see `buckets`)."""

    num_heads: int
    num_buckets: int
    max_distance: int

    @nn.compact
    def __call__(self, steps: int) -> jax.Array:
        """The bias of a sequence of T steps: float32 `[1, heads, T, T]`."""
        table = nn.Embed(self.num_buckets, self.num_heads, name="table")
        bias = table(jnp.asarray(buckets(steps, self.num_buckets, self.max_distance)))
        return bias.transpose(2, 0, 1)[None]


class BiasGate(nn.Module):
    """The factor by which a query takes in the relative bias (Chi et al. 2022, gated as in WavLM, Eq. 3)."""

    num_heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """From the attention's input, float `[B, T, D]`, to float32 `[B, heads, T, 1]` in (1, 2 + scale)."""
        B, T, D = x.shape
        scale = self.param("scale", nn.initializers.ones_init(), (1, self.num_heads, 1, 1))
        heads = x.reshape(B, T, self.num_heads, D // self.num_heads)
        gates = Dense(8, True, self.dtype, name="projection")(heads).reshape(B, T, self.num_heads, 2, 4).sum(-1)
        update, reset = jnp.moveaxis(jax.nn.sigmoid(gates).transpose(0, 2, 1, 3)[..., None], 3, 0)
        return update * (reset * scale - 1.0) + 2.0


class RelativeKeys(nn.Module):
    """Logits between each query and a learned vector of the distance to the key (Shaw et al. 2018, Eq. 4).

    Attributes:
        left: distances to keys further back than this many steps count as this many.
        right: likewise for keys ahead.
    """

    left: int
    right: int

    @nn.compact
    def __call__(self, query: jax.Array) -> jax.Array:
        """From the queries, float `[B, T, heads, D / heads]`, to float32 `[B, heads, T, T]`, scaled as other logits."""
        T, width = query.shape[1], query.shape[-1]
        table = nn.Embed(self.left + self.right + 1, width, name="table").embedding.astype(query.dtype)
        logits = jnp.einsum("bthd,rd->bhtr", query, table, preferred_element_type=jnp.float32) * width**-0.5
        distance = np.arange(T)[None] - np.arange(T)[:, None]
        index = np.clip(distance, -self.left, self.right) + self.left
        return jnp.take_along_axis(logits, jnp.asarray(index)[None, None], axis=3)
