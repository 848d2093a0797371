"""From weighted features to one logit per label: a Transformer decoder with a query for each, or a pooled MLP."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from emi_jax.models.dense import Dense
from emi_jax.models.gelu import gelu
from emi_jax.models.norm import LayerNorm
from emi_jax.models.pooling import masked_mean

_SMALL = nn.initializers.normal(0.02)


class Memory(nn.Module):
    """Joins the weighted features along time, after one learned token that is always valid.

    The token gives a clip with no modality at all a defined answer, a learned prior. Positions are sinusoids (Vaswani
    et al. 2017, 3.5), which hold for any length, where a table would end at the longest clip trained on; their learned
    factor starts small, so that they mark the features and do not drown them. Modality and position are added after
    the weighting: a step of weight 0 says where it stands and nothing else.
    """

    @nn.compact
    def __call__(self, features: dict[str, Array], masks: dict[str, Array]) -> tuple[Array, Array]:
        """Joins {m: [B, t_m, d]} with {m: bool [B, t_m]} to [B, 1 + sum of t_m, d] and bool [B, 1 + sum of t_m]."""
        B, _, d = next(iter(features.values())).shape
        scale = self.param("position_scale", nn.initializers.constant(0.1), ())
        parts = [jnp.broadcast_to(self.param("token", _SMALL, (1, 1, d)), (B, 1, d))]
        valid = [jnp.ones((B, 1), bool)]
        for name, x in features.items():
            place = self.param(f"{name}_embedding", _SMALL, (1, 1, d)) + scale * sinusoids(x.shape[1], d)[None]
            parts.append(x + place)
            valid.append(masks[name])
        return jnp.concatenate(parts, axis=1), jnp.concatenate(valid, axis=1)


class Decoder(nn.Module):
    """A pre-norm Transformer decoder: K learned queries read the memory.

    The memory is used as it comes. A layer norm on it would divide the quality weights out again.

    Attributes:
        num_labels: K, one query for each label.
        num_layers: depth.
        num_heads: attention heads; must divide d.
        mlp_ratio: hidden width of the MLP over d.
        dropout: rate on each residual branch.
        dtype: dtype of the operands of matrix products.
    """

    num_labels: int
    num_layers: int = 2
    num_heads: int = 8
    mlp_ratio: int = 4
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, memory: Array, mask: Array, log_weights: Array | None = None, deterministic: bool = True
    ) -> Array:
        """Decodes logits.

        Args:
            memory: [B, S, d].
            mask: bool [B, S], at least one True a clip.
            log_weights: [B, S], added to the logits of the attention to the memory.
            deterministic: False needs the rng stream "dropout".

        Returns:
            Logits, float32 [B, K].
        """
        B, _, d = memory.shape
        x = jnp.broadcast_to(self.param("queries", _SMALL, (1, self.num_labels, d)), (B, self.num_labels, d))
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        for index in range(self.num_layers):
            name = f"layers_{index}"
            y = LayerNorm(name=f"{name}_self_norm")(x)
            x = x + drop(Attention(self.num_heads, self.dtype, name=f"{name}_self_attention")(y, y))
            y = LayerNorm(name=f"{name}_cross_norm")(x)
            cross = Attention(self.num_heads, self.dtype, name=f"{name}_cross_attention")
            x = x + drop(cross(y, memory, mask, log_weights))
            y = LayerNorm(name=f"{name}_mlp_norm")(x)
            y = Dense(self.mlp_ratio * d, dtype=self.dtype, name=f"{name}_mlp_hidden")(y)
            y = Dense(d, dtype=self.dtype, name=f"{name}_mlp_output")(gelu(y))
            x = x + drop(y)
        x = LayerNorm(name="norm")(x)
        kernel = self.param("kernel", nn.initializers.normal(d**-0.5), (self.num_labels, d))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.num_labels,))
        return (x * kernel[None]).sum(-1) + bias[None]


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, Eq. 1) of queries to a memory of another length.

    Attributes:
        num_heads: must divide d.
        dtype: dtype of the operands of matrix products.
    """

    num_heads: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, memory: Array, mask: Array | None = None, bias: Array | None = None) -> Array:
        """Reads memory [B, S, d], with mask bool [B, S] and bias [B, S] on the logits, from x [B, K, d]: [B, K, d]."""
        d = x.shape[-1]
        if d % self.num_heads:
            raise ValueError(f"num_heads = {self.num_heads} does not divide the width {d}: choose one of its divisors")
        query, key, value = (
            Dense(d, dtype=self.dtype, name=name)(y)
            .reshape(*y.shape[:2], self.num_heads, d // self.num_heads)
            .astype(self.dtype)
            for name, y in (("query", x), ("key", memory), ("value", memory))
        )
        read = jax.nn.dot_product_attention(
            query,
            key,
            value,
            bias=None if bias is None else bias[:, None, None, :],
            mask=None if mask is None else mask[:, None, None, :],
        )
        return Dense(d, dtype=self.dtype, name="output")(read.reshape(x.shape))


class Pooled(nn.Module):
    """What stands in for the decoder when it is switched off: masked means, side by side, and an MLP.

    A clip with no modality at all gets the answer of the first layer's bias, as the decoder's learned token gives one.

    Attributes:
        num_labels: K.
        width: hidden width.
        dropout: rate after the activation.
        dtype: dtype of the operands of matrix products.
    """

    num_labels: int
    width: int
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, features: dict[str, Array], masks: dict[str, Array], deterministic: bool = True) -> Array:
        """Maps {m: [B, t_m, d]} with {m: bool [B, t_m]} to logits, float32 [B, K]."""
        x = jnp.concatenate([masked_mean(y, masks[name]) for name, y in features.items()], axis=-1)
        x = gelu(Dense(self.width, dtype=self.dtype, name="hidden")(x))
        x = nn.Dropout(self.dropout, deterministic=deterministic)(x)
        return Dense(self.num_labels, dtype=self.dtype, name="output")(x)


def sinusoids(length: int, width: int) -> Array:
    """Position embeddings, float32 [length, width]: sines in the first half of the channels, cosines in the second."""
    rates = 1e4 ** (-np.arange((width + 1) // 2) / (width / 2))
    angles = np.arange(length)[:, None] * rates[None, :]
    return jnp.asarray(np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width], jnp.float32)
