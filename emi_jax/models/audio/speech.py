"""Speech encoders on the raw waveform: wav2vec 2.0 (Baevski et al. 2020) and HuBERT (Hsu et al. 2021)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.kernels.convolution import convolve
from emi_jax.models.audio.projection import ProjectingEncoder
from emi_jax.models.audio.speech_config import SpeechConfig, Wav2Vec2Config
from emi_jax.models.audio.speech_features import FeatureExtractor
from emi_jax.models.dense import Dense
from emi_jax.models.norm import LayerNorm
from emi_jax.models.pooling import masked_mean
from emi_jax.models.transformer import ACTIVATIONS, Layer, Transformer, key_mask


class PositionalConvolution(nn.Module):
    """Relative positions by a wide grouped convolution with weight norm (Salimans & Kingma 2016) over each tap."""

    config: SpeechConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x, float `[B, T, D]` with zeros on padding, to float32 `[B, T, D]`."""
        D, width = x.shape[-1], self.config.num_conv_pos_embeddings
        groups = position_groups(self.config, D)
        init = nn.initializers.normal(2 / (width * D) ** 0.5)
        direction = self.param("direction", init, (width, D // groups, D))
        norm = jnp.sqrt(jnp.square(direction).sum(axis=(1, 2)))
        magnitude = self.param("magnitude", lambda _: norm)
        bias = self.param("bias", nn.initializers.zeros_init(), (D,))
        y = convolve(x, direction * (magnitude / norm)[:, None, None], groups, self.dtype)
        return ACTIVATIONS[self.config.feat_extract_activation](y + bias[None, None])


def position_groups(config: SpeechConfig, width: int) -> int:
    """The groups of the positional convolutions of that width; ValueError if they do not divide it."""
    groups = config.num_conv_pos_embedding_groups
    if width % groups:
        raise ValueError(f"num_conv_pos_embedding_groups = {groups} does not divide hidden_size = {width}")
    return groups


class Speech(ProjectingEncoder):
    """What speech encoders on the raw waveform share, and all of `transformers.HubertModel`.

    Unlike in transformers, padding never changes a valid step: the group norm of the front end is masked.

    Attributes as in `Encoder`.
    """

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
            waveform: float `[B, S]` at 16 kHz, normalised if the encoder was trained so.
            mask: bool `[B, S]`, True = a sample, False = padding; None = all are samples.
            deterministic: False needs the rng stream "dropout" and adds dropout, layerdrop and SpecAugment.
            output_hidden_states: whether to return the hidden states as well.

        Returns:
            The steps, float32 `[B, T, D]`, those of `config.steps.mask` valid; their masked mean `[B, D]`; if
            requested, the hidden states after the embedding and after each layer.
        """
        config = self.config
        mask = jnp.ones(waveform.shape, bool) if mask is None else mask
        step_mask = config.steps.mask(mask)
        x = FeatureExtractor(config, self.dtype, name="features")(waveform, mask)
        if config.feat_proj_layer_norm:
            x = LayerNorm(config.layer_norm_eps, name="projection_norm")(x)
        x = self.project(x, step_mask, deterministic)
        x = x + self._positions(x, step_mask)
        norm = LayerNorm(config.layer_norm_eps, name="norm")
        if not config.do_stable_layer_norm:
            x = norm(x)
        x = nn.Dropout(config.hidden_dropout)(x, deterministic=deterministic)
        layers = (self._layer(),) * config.num_hidden_layers
        transformer = Transformer(layers, config.layerdrop, self.remat, name="transformer")
        bias = self._attention_bias(x.shape[1])
        x, hidden_states = transformer(x, key_mask(step_mask), deterministic, bias)
        if config.do_stable_layer_norm:
            x = norm(x)
        x, pooled = self._outputs(x, step_mask, deterministic)
        return (x, pooled, hidden_states) if output_hidden_states else (x, pooled)

    def _layer(self) -> Layer:
        return self.layer(
            mlp_width=self.config.intermediate_size,
            activation=self.config.hidden_act,
            norm_first=self.config.do_stable_layer_norm,
            norm_epsilon=self.config.layer_norm_eps,
            dropout=self.config.hidden_dropout,
            attention_dropout=self.config.attention_dropout,
            activation_dropout=self.config.activation_dropout,
            kernel_init=nn.initializers.normal(self.config.initializer_range),
        )

    def _positions(self, x: jax.Array, step_mask: jax.Array) -> jax.Array:
        """What tells the steps of x `[B, T, D]` their positions, added to it; x is 0 where step_mask is False."""
        return PositionalConvolution(self.config, self.dtype, name="positions")(x)

    def _attention_bias(self, steps: int) -> jax.Array | None:
        """The bias of the attention logits of all layers, or None."""
        return None

    def _outputs(self, x: jax.Array, step_mask: jax.Array, deterministic: bool) -> tuple[jax.Array, jax.Array]:
        """The steps and the pooled vector from the last hidden state."""
        return x, masked_mean(x, step_mask)


class Wav2Vec2(Speech):
    """`transformers.Wav2Vec2Model`, with audeering's regression head where the config has `emotion_dimensions`.

    The head's outputs (arousal, dominance, valence) are appended to the last hidden state of each step, and those for
    the mean of the steps to this mean.
    """

    def _outputs(self, x: jax.Array, step_mask: jax.Array, deterministic: bool) -> tuple[jax.Array, jax.Array]:
        pooled = masked_mean(x, step_mask)
        if not self.config.emotion_dimensions:
            return x, pooled
        head = EmotionHead(self.config, self.dtype, name="emotion")
        emotion = jnp.where(step_mask.any(axis=1)[:, None], head(pooled, deterministic), 0.0)
        return jnp.concatenate([x, head(x, deterministic)], -1), jnp.concatenate([pooled, emotion], -1)


class EmotionHead(nn.Module):
    """The regression head of audeering's emotion model (Wagner et al. 2023): two linear layers, tanh between them."""

    config: Wav2Vec2Config
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """Maps hidden states `[..., D]` to float32 `[..., emotion_dimensions]`, each about 0 to 1."""
        init = nn.initializers.normal(self.config.initializer_range)
        dropout = nn.Dropout(self.config.final_dropout, deterministic=deterministic)
        hidden = jnp.tanh(Dense(x.shape[-1], True, self.dtype, init, name="hidden")(dropout(x)))
        return Dense(self.config.emotion_dimensions, True, self.dtype, init, name="output")(dropout(hidden))
