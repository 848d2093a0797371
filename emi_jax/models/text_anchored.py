"""The head of the 2026 winner, TAEMI (arXiv 2603.14976): the tokens attend to the face and to the voice."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION, in_order
from emi_jax.models.decoder import DecoderLayer, sinusoids
from emi_jax.models.dense import Dense
from emi_jax.models.fusion import STEPS_PER_SECOND
from emi_jax.models.norm import LayerNorm
from emi_jax.models.pooling import masked_mean
from emi_jax.models.quality import unweighted, valid_steps
from emi_jax.models.transformer import Layer, gelu

_SMALL = nn.initializers.normal(0.02)


class TextAnchored(nn.Module):
    """Two cross-attentions, from the tokens to the frames and to the voice, then an MLP on all three pooled.

    One learned token stands for a modality that is absent from a clip or not used in the run. Written from the paper's
    description; details it leaves open (norms, positions, widths) follow our decoder.

    Attributes:
        num_labels: K.
        width: d, of everything after the projections.
        modalities: in use.
        num_layers: cross-attention blocks of each of the two streams.
        num_heads: attention heads; must divide `width`.
        mlp_ratio: hidden width of the MLPs over `width`.
        dropout: dropout rate of each residual branch.
        dtype: dtype of the operands of matrix products.
    """

    num_labels: int
    width: int = 256
    modalities: tuple[str, ...] = MODALITIES
    num_layers: int = 1
    num_heads: int = 8
    mlp_ratio: int = 4
    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        features: Mapping[str, Array],
        masks: Mapping[str, Array],
        times: Mapping[str, Array],
        present: Array,
        deterministic: bool = True,
    ) -> tuple[Array, dict[str, Any]]:
        """Predicts the intensities; arguments and results as in `Fusion`, with equal weights and no quality logits."""
        names = in_order(self.modalities)
        valid = valid_steps(names, masks, present)
        x, mask = {}, {}
        for name in MODALITIES:
            token = self.param(f"{name}_missing", _SMALL, (1, 1, self.width))
            if name in names:
                x[name], mask[name] = self._embed(name, features[name], valid[name], times[name], token)
            else:
                x[name] = jnp.broadcast_to(token, (present.shape[0], 1, self.width))
                mask[name] = jnp.ones((present.shape[0], 1), bool)
        pooled = [masked_mean(x[TEXT], mask[TEXT])]
        for name in (VISION, AUDIO):
            tokens = x[TEXT]
            for index in range(self.num_layers):
                block = DecoderLayer(self._layer(), self_attention=False, name=f"{name}_layers_{index}")
                tokens = block(tokens, x[name], mask[name], None, deterministic)
            pooled.append(masked_mean(LayerNorm(name=f"{name}_norm")(tokens), mask[TEXT]))
        hidden = Dense(self.width, dtype=self.dtype, name="hidden")(jnp.concatenate(pooled, axis=-1))
        hidden = nn.Dropout(self.dropout, deterministic=deterministic)(gelu(hidden))
        logits = Dense(self.num_labels, dtype=self.dtype, name="output")(hidden)
        return jax.nn.sigmoid(logits), unweighted(valid)

    def _embed(self, name: str, x: Array, mask: Array, times: Array, missing: Array) -> tuple[Array, Array]:
        """Projected steps [B, t, d] with positions, and their mask; for an absent modality the learned token, once."""
        present = mask.any(1)
        x = Dense(self.width, dtype=self.dtype, name=f"{name}_projection")(jnp.where(mask[..., None], x, 0))
        x = LayerNorm(name=f"{name}_input_norm")(x) + 0.1 * sinusoids(STEPS_PER_SECOND * times, self.width)
        first = jnp.arange(x.shape[1]) == 0
        return jnp.where(present[:, None, None], x, missing), jnp.where(present[:, None], mask, first[None, :])

    def _layer(self) -> Layer:
        return Layer(self.num_heads, self.mlp_ratio * self.width, dropout=self.dropout, dtype=self.dtype)
