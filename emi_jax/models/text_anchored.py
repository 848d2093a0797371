"""The head of the 2026 winner, TAEMI (arXiv 2603.14976): the class token of the text attends to voice and face."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from emi_jax.kernels.attention import dot_product_attention
from emi_jax.kernels.gelu import gelu
from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION, in_order
from emi_jax.models.dense import Dense, torch_uniform
from emi_jax.models.norm import LayerNorm
from emi_jax.models.pooling import TOKENS, text_vector
from emi_jax.models.quality import unweighted, valid_steps
from emi_jax.models.transformer import check_heads, key_mask

_SMALL = nn.initializers.normal(0.02)
_EPSILON = 1e-5  # of PyTorch's layer norm


class TextAnchored(nn.Module):
    """Cross-attention from the text's vector to each of voice and frames, then an MLP on the text and both results.

    As in the winner's public code. A learned vector replaces each step of a modality that a clip lacks, and the vector
    of a missing text. The output is linear: predictions are clipped to [0, 1] outside of training.

    Attributes:
        num_labels: K.
        width: of the attention and of the MLP's hidden layer.
        modalities: in use. The stream of voice or frames is left out if it is not; without text, the query is learned.
        num_heads: attention heads; must divide `width`.
        token: the token that stands for the text, one of `TOKENS`.
        dropout: dropout rate of the attention weights and of the MLP's hidden layer.
        dtype: dtype of the operands of matrix products.
    """

    num_labels: int
    width: int = 512
    modalities: tuple[str, ...] = MODALITIES
    num_heads: int = 4
    token: str = "first"
    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: an unknown token, or heads that do not divide the width.
        """
        if self.token not in TOKENS:
            raise ValueError(f"token = {self.token!r}: choose one of {TOKENS}")
        check_heads(self.num_heads, self.width)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        features: Mapping[str, Array],
        masks: Mapping[str, Array],
        times: Mapping[str, Array],
        present: Array,
        deterministic: bool = True,
    ) -> tuple[Array, dict[str, Any]]:
        """Predicts the intensities; arguments and results as in `Fusion`, with equal weights and no quality logits.

        With `deterministic=False`, predictions are not clipped, so that each has a gradient.
        """
        del times  # attention without positions
        valid = valid_steps(in_order(self.modalities), masks, present)
        text = self._text(features, valid, len(present))
        parts = [text]
        for name in (AUDIO, VISION):
            if name in valid:
                missing = self.param(f"{name}_missing", _SMALL, (1, 1, features[name].shape[-1]))
                here = valid[name].any(1)[:, None]
                steps = jnp.where(here[..., None], jnp.where(valid[name][..., None], features[name], 0), missing)
                attention = CrossAttention(
                    self.width, self.num_heads, self.dropout, self.dtype, name=f"{name}_attention"
                )
                parts.append(attention(text, steps, valid[name] | ~here, deterministic))
        hidden_layer = Dense(self.width, dtype=self.dtype, kernel_init=torch_uniform, name="hidden")
        output = Dense(self.num_labels, dtype=self.dtype, kernel_init=torch_uniform, name="output")
        hidden = gelu(hidden_layer(jnp.concatenate(parts, axis=-1)))
        predictions = output(nn.Dropout(self.dropout, deterministic=deterministic)(hidden))
        return jnp.clip(predictions, 0, 1) if deterministic else predictions, unweighted(valid)

    def _text(self, features: Mapping[str, Array], valid: Mapping[str, Array], batch: int) -> Array:
        """The text's vector [B, D], learned for a clip without text, and of the head's width for a run without it."""
        size = features[TEXT].shape[-1] if TEXT in valid else self.width
        missing = self.param("text_missing", _SMALL, (1, size))
        if TEXT not in valid:
            return jnp.broadcast_to(missing, (batch, size))
        text = text_vector(features[TEXT], valid[TEXT], self.token)
        return jnp.where(valid[TEXT].any(1, keepdims=True), text, missing)


class CrossAttention(nn.Module):
    """Multi-head attention of one query to a sequence, with a layer norm of projected query and keys.

    q = LN(W_q x), k = LN(W_k m), v = W_v m; softmax(q k / sqrt(width / num_heads)) v of each head, and a projection.

    Attributes:
        width: of all projections.
        num_heads: must divide `width`.
        dropout: dropout rate of the attention weights.
        dtype: dtype of the operands of matrix products.
    """

    width: int
    num_heads: int
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, memory: Array, mask: Array, deterministic: bool = True) -> Array:
        """Reads the memory.

        Args:
            x: [B, D].
            memory: [B, S, E].
            mask: bool [B, S], at least one True in each row.
            deterministic: False needs the rng stream "dropout", if `dropout` is positive.

        Returns:
            float32 [B, width].
        """
        query = LayerNorm(_EPSILON, name="query_norm")(self._dense("query")(x[:, None]))
        key = LayerNorm(_EPSILON, name="key_norm")(self._dense("key")(memory))
        value = self._dense("value")(memory)
        query, key, value = (
            y.astype(self.dtype).reshape(*y.shape[:2], self.num_heads, self.width // self.num_heads)
            for y in (query, key, value)
        )
        keep = None
        if self.dropout > 0 and not deterministic:
            shape = (len(x), self.num_heads, 1, memory.shape[1])
            keep = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.dropout, shape)
        mixed = dot_product_attention(query, key, value, key_mask(mask), keep=keep, dropout_rate=self.dropout)
        return self._dense("output")(mixed.reshape(len(x), self.width))

    def _dense(self, name: str) -> Dense:
        return Dense(self.width, dtype=self.dtype, kernel_init=torch_uniform, name=name)
