"""WavLM (Chen et al. 2022): HuBERT with a relative position bias that each attention layer gates by its input."""

import dataclasses

import jax

from emi_jax.models.audio.speech import Speech
from emi_jax.models.relative import RelativeBias
from emi_jax.models.transformer import Layer


class WavLM(Speech):
    """`transformers.WavLMModel`. The table of the bias belongs to all layers, the gates to each."""

    def _layer(self) -> Layer:
        return dataclasses.replace(super()._layer(), gated_bias=True)

    def _attention_bias(self, steps: int) -> jax.Array:
        config = self.config
        bias = RelativeBias(
            config.num_attention_heads, config.num_buckets, config.max_bucket_distance, name="relative_bias"
        )
        return bias(steps)
