"""w2v-BERT 2.0 (Seamless Communication et al. 2023): a conformer on Kaldi's filter banks."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp

from emi_jax.models.audio.conformer import ConformerBlock, ConformerLayer
from emi_jax.models.audio.projection import ProjectingEncoder
from emi_jax.models.audio.spectrogram import HOP, WIDTH, kaldi_filter_banks
from emi_jax.models.audio.steps import Steps
from emi_jax.models.config import read_config
from emi_jax.models.norm import LayerNorm
from emi_jax.models.pooling import masked_mean
from emi_jax.models.transformer import ACTIVATIONS, Transformer, key_mask


@dataclasses.dataclass(frozen=True)
class Wav2Vec2BertConfig:
    """The fields of a Hugging Face `wav2vec2-bert` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "wav2vec2-bert"
    hidden_size: int = 1024
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    intermediate_size: int = 4096
    hidden_act: str = "swish"
    hidden_dropout: float = 0.0
    activation_dropout: float = 0.0
    attention_dropout: float = 0.0
    feat_proj_dropout: float = 0.0
    conformer_conv_dropout: float = 0.1
    layerdrop: float = 0.1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    left_max_position_embeddings: int = 64
    right_max_position_embeddings: int = 8
    conv_depthwise_kernel_size: int = 31
    apply_spec_augment: bool = True
    mask_time_prob: float = 0.05
    mask_time_length: int = 10
    mask_time_min_masks: int = 2
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = 0

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        supported = {
            "hidden_act": ACTIVATIONS,
            "feature_projection_input_dim": (160,),
            "position_embeddings_type": ("relative_key",),
            "add_adapter": (False,),
            "use_intermediate_ffn_before_adapter": (False,),
        }
        return read_config(cls, config, supported)

    @property
    def steps(self) -> Steps:
        """A step is two frames, and hears 35 ms every 20 ms."""
        return Steps(WIDTH + HOP, 2 * HOP)


class Wav2Vec2Bert(ProjectingEncoder):
    """`transformers.Wav2Vec2BertModel`, from the waveform.

    Attributes as in `Encoder`.
    """

    config: Wav2Vec2BertConfig

    @nn.compact
    def __call__(
        self,
        waveform: jax.Array,
        mask: jax.Array | None = None,
        deterministic: bool = True,
        output_hidden_states: bool = False,
    ) -> tuple[Any, ...]:
        """Encodes audio.

        Args:
            waveform: float `[B, S]` at 16 kHz, as recorded.
            mask: bool `[B, S]`, True = a sample, False = padding; None = all are samples.
            deterministic: False needs the rng stream "dropout" and adds dropout, layerdrop and SpecAugment.
            output_hidden_states: whether to return the hidden states as well.

        Returns:
            The steps, float32 `[B, T, D]`, those of `config.steps.mask` valid; their masked mean `[B, D]`; if
            requested, the hidden states after the embedding and after each layer.
        """
        config = self.config
        mask = jnp.ones(waveform.shape, bool) if mask is None else mask
        step_mask, steps = config.steps.mask(mask), config.steps.count(waveform.shape[1])
        frames = kaldi_filter_banks(waveform, mask)[:, : 2 * steps]
        x = LayerNorm(config.layer_norm_eps, name="projection_norm")(frames.reshape(len(frames), steps, -1))
        x = self.project(x, step_mask, deterministic)
        x = nn.Dropout(config.hidden_dropout)(x, deterministic=deterministic)
        layers = (self._layer(),) * config.num_hidden_layers
        transformer = Transformer(layers, config.layerdrop, self.remat, ConformerBlock, name="transformer")
        x, hidden_states = transformer(x, key_mask(step_mask), deterministic)
        pooled = masked_mean(x, step_mask)
        return (x, pooled, hidden_states) if output_hidden_states else (x, pooled)

    def _layer(self) -> ConformerLayer:
        config = self.config
        return self.layer(
            ConformerLayer,
            mlp_width=config.intermediate_size,
            activation=config.hidden_act,
            norm_epsilon=config.layer_norm_eps,
            dropout=config.hidden_dropout,
            attention_dropout=config.attention_dropout,
            activation_dropout=config.activation_dropout,
            relative_keys=(config.left_max_position_embeddings, config.right_max_position_embeddings),
            kernel_init=nn.initializers.normal(config.initializer_range),
            conv_width=config.conv_depthwise_kernel_size,
            conv_dropout=config.conformer_conv_dropout,
        )
