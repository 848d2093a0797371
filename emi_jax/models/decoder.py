"""From weighted features to one logit per label: a Transformer decoder with a query for each, or a pooled MLP."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike

from emi_jax.kernels.gelu import gelu
from emi_jax.models.dense import Dense
from emi_jax.models.norm import LayerNorm
from emi_jax.models.pooling import masked_mean
from emi_jax.models.transformer import MLP, Attention, Layer, key_mask

_SMALL = nn.initializers.normal(0.02)


class Memory(nn.Module):
    """Joins the weighted features along time, after one learned token that is always valid.

    The token gives a clip with no modality at all a defined answer, a learned prior. Positions are sinusoids (Vaswani
    et al. 2017, 3.5) of the steps' times, so that the same moment of face, voice and words has the same position
    whatever their sampling. Their learned factor starts small, so that they do not dominate the features. Modality and
    position are added after the weighting: a step of weight 0 contributes nothing but its modality and position.
    """

    @nn.compact
    def __call__(
        self, features: dict[str, Array], masks: dict[str, Array], positions: dict[str, Array]
    ) -> tuple[Array, Array]:
        """Joins the modalities.

        Args:
            features: {m: [B, t_m, d]}.
            masks: {m: bool [B, t_m]}.
            positions: {m: float32 [B, t_m]}, see `sinusoids`.

        Returns:
            [B, 1 + sum of t_m, d] and bool [B, 1 + sum of t_m].
        """
        B, _, d = next(iter(features.values())).shape
        scale = self.param("position_scale", nn.initializers.constant(0.1), ())
        parts = [jnp.broadcast_to(self.param("token", _SMALL, (1, 1, d)), (B, 1, d))]
        valid = [jnp.ones((B, 1), bool)]
        for name, x in features.items():
            place = self.param(f"{name}_embedding", _SMALL, (1, 1, d)) + scale * sinusoids(positions[name], d)
            parts.append(x + place)
            valid.append(masks[name])
        return jnp.concatenate(parts, axis=1), jnp.concatenate(valid, axis=1)


class DecoderLayer(nn.Module):
    """Attention to a memory and an MLP, each pre-norm with a residual; optionally, self-attention before them.

    Attributes:
        layer: sizes, dropout and dtype.
        self_attention: whether the queries read each other first.
    """

    layer: Layer
    self_attention: bool = True

    @nn.compact
    def __call__(
        self, x: Array, memory: Array, mask: Array, log_weights: Array | None = None, deterministic: bool = True
    ) -> Array:
        """Maps x [B, K, d] to float32 [B, K, d]; the other arguments as in `Decoder`."""
        dropout = nn.Dropout(self.layer.dropout, deterministic=deterministic)
        if self.self_attention:
            y = self.layer.norm("self_norm")(x)
            x = x + dropout(Attention(self.layer, name="self_attention")(y, None, deterministic))
        y = self.layer.norm("cross_norm")(x)
        bias = None if log_weights is None else log_weights[:, None, None, :]
        cross_attention = Attention(self.layer, name="cross_attention")
        x = x + dropout(cross_attention(y, key_mask(mask), deterministic, memory, bias))
        return x + dropout(MLP(self.layer, name="mlp")(self.layer.norm("mlp_norm")(x), deterministic))


class Decoder(nn.Module):
    """A pre-norm Transformer decoder: K learned queries read the memory.

    The memory is not normalised: a layer norm would divide the quality weights out again.

    Attributes:
        num_labels: K, one query for each label.
        num_layers: depth.
        num_heads: attention heads; must divide d.
        mlp_ratio: hidden width of the MLP over d.
        dropout: dropout rate of each residual branch.
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
            mask: bool [B, S], at least one True in each row.
            log_weights: [B, S], added to the logits of the attention to the memory.
            deterministic: False needs the rng stream "dropout".

        Returns:
            Logits, float32 [B, K].
        """
        B, _, d = memory.shape
        layer = Layer(self.num_heads, self.mlp_ratio * d, dropout=self.dropout, dtype=self.dtype)
        x = jnp.broadcast_to(self.param("queries", _SMALL, (1, self.num_labels, d)), (B, self.num_labels, d))
        for index in range(self.num_layers):
            x = DecoderLayer(layer, name=f"layers_{index}")(x, memory, mask, log_weights, deterministic)
        x = LayerNorm(name="norm")(x)
        kernel = self.param("kernel", nn.initializers.normal(d**-0.5), (self.num_labels, d))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.num_labels,))
        return (x * kernel[None]).sum(-1) + bias[None]


class Pooled(nn.Module):
    """Replaces the decoder where it is switched off: the masked means of all modalities, concatenated, and an MLP.

    A clip with no modality at all is predicted from the biases alone, whereas the decoder has its learned token.

    Attributes:
        num_labels: K.
        width: hidden width.
        dropout: dropout rate after the activation.
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


def sinusoids(positions: Array, width: int) -> Array:
    """Position embeddings: sines in the first half of the channels, cosines in the second.

    Args:
        positions: [..., t]; the fastest sinusoid turns by one radian for each unit.
        width: number of channels.

    Returns:
        float32 [..., t, width].
    """
    rates = jnp.asarray(1e4 ** (-np.arange((width + 1) // 2) / (width / 2)), jnp.float32)
    angles = positions[..., None] * rates.reshape((1,) * positions.ndim + (-1,))
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)[..., :width]
