"""The encoder of Whisper (Radford et al. 2023) with its log-mel front end."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from emi_jax.errors import UserError
from emi_jax.modalities import SAMPLE_RATE
from emi_jax.models.audio.spec_augment import spec_augment
from emi_jax.models.audio.spectrogram import HOP, WIDTH, log_mel
from emi_jax.models.audio.steps import Steps, frame
from emi_jax.models.config import read_config
from emi_jax.models.dense import Dense
from emi_jax.models.encoder import Encoder
from emi_jax.models.norm import LayerNorm
from emi_jax.models.pooling import masked_mean
from emi_jax.models.transformer import ACTIVATIONS, Layer, Transformer

NORM_EPSILON = 1e-5
KERNEL, STRIDE = 3, 2
"""Frames that each of the two convolutions sees, and between steps after the second."""


@dataclasses.dataclass(frozen=True)
class WhisperConfig:
    """The fields of a Hugging Face `whisper` config that the encoder reads, with their defaults there.

    `chunk_length` is a field of the feature extractor there: the seconds of audio that the encoder always reads, which
    are filled up with silence. 0 = as many as there are positions, 30 s in all published models.
    """

    model_type: ClassVar[str] = "whisper"
    num_mel_bins: int = 80
    d_model: int = 384
    encoder_layers: int = 4
    encoder_attention_heads: int = 6
    encoder_ffn_dim: int = 1536
    encoder_layerdrop: float = 0.0
    activation_function: str = "gelu"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    init_std: float = 0.02
    max_source_positions: int = 1500
    chunk_length: float = 0.0
    apply_spec_augment: bool = False
    mask_time_prob: float = 0.05
    mask_time_length: int = 10
    mask_time_min_masks: int = 2
    mask_feature_prob: float = 0.0
    mask_feature_length: int = 10
    mask_feature_min_masks: int = 0

    def __post_init__(self) -> None:
        """Checks the window; raises ValueError if it is not a number of steps that have a position."""
        steps, most = self.chunk_length * SAMPLE_RATE / self.steps.stride, self.max_source_positions
        if not (0 <= steps <= most and abs(steps - round(steps)) < 1e-6):
            raise ValueError(
                f"chunk_length = {self.chunk_length:g}: expected a multiple of 0.02 s up to {most / 50:g}, or 0 for it"
            )

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        return read_config(cls, config, {"activation_function": ACTIVATIONS})

    @property
    def hidden_size(self) -> int:
        """Width of a step."""
        return self.d_model

    @property
    def num_attention_heads(self) -> int:
        """Heads of each layer."""
        return self.encoder_attention_heads

    @property
    def steps(self) -> Steps:
        """A step is centred at every 20 ms and hears 65 ms: five frames, of which the convolutions see three each."""
        width = WIDTH + HOP * 2 * (KERNEL - 1)
        return Steps(width, HOP * STRIDE, centred=True)

    @property
    def window(self) -> int:
        """The steps that the encoder computes."""
        return round(self.chunk_length * SAMPLE_RATE / self.steps.stride) or self.max_source_positions

    @property
    def for_transformers(self) -> dict[str, Any]:
        """Fields that transformers reads, though the encoder does not: a decoder without layers."""
        return {"decoder_layers": 0, "decoder_attention_heads": self.encoder_attention_heads}


class Convolutions(nn.Module):
    """The two convolutions over frames, the second with stride 2."""

    config: WhisperConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps frames, float32 `[B, 2 T, M]`, to float32 `[B, T, D]`."""
        for number, stride in ((1, 1), (2, STRIDE)):
            conv = Dense(self.config.d_model, True, self.dtype, nn.initializers.he_normal(), name=f"conv_{number}")
            padded = jnp.pad(x, ((0, 0), (KERNEL // 2, KERNEL // 2), (0, 0)))
            x = ACTIVATIONS["gelu"](conv(frame(padded, KERNEL, stride)))
        return x


class Whisper(Encoder):
    """The encoder of `transformers.WhisperModel`, from the waveform.

    It always reads `config.chunk_length` seconds. A shorter clip is followed by silence, which takes part in the
    attention as in training; the steps of the silence beyond the array's end are cut off the result. So a clip's steps
    do not depend on how much padding follows it.

    Attributes as in `Encoder`.
    """

    config: WhisperConfig

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
            requested, the hidden states after the embedding and after each layer, the last one normalised.

        Raises:
            UserError: S is longer than the window.
        """
        config, samples = self.config, waveform.shape[1]
        window = config.window * config.steps.stride
        if samples > window:
            raise UserError(
                f"audio of {samples / SAMPLE_RATE:g} s is longer than the {window / SAMPLE_RATE:g} s that the Whisper "
                "encoder reads: lower config.data.seconds or raise config.model.audio.config.chunk_length"
            )
        mask = jnp.ones(waveform.shape, bool) if mask is None else mask
        x = log_mel(jnp.pad(jnp.where(mask, waveform, 0.0), ((0, 0), (0, window - samples))), config.num_mel_bins)
        if not deterministic:
            frame_mask = jnp.pad(mask[:, ::HOP], ((0, 0), (0, x.shape[1] - -(-samples // HOP))))
            x = spec_augment(self.make_rng, x, frame_mask, config, None)
        x = Convolutions(config, self.dtype, name="features")(x)
        positions = self.param("positions", _sinusoids, (config.max_source_positions, config.d_model))
        x = x + jax.lax.stop_gradient(positions)[None, : config.window]  # fixed in training, as in transformers
        x = nn.Dropout(config.dropout)(x, deterministic=deterministic)
        layers = (self._layer(),) * config.encoder_layers
        transformer = Transformer(layers, config.encoder_layerdrop, self.remat, name="transformer")
        x, hidden_states = transformer(x, None, deterministic)
        x = LayerNorm(NORM_EPSILON, name="norm")(x)[:, : config.steps.count(samples)]
        pooled = masked_mean(x, config.steps.mask(mask))
        if not output_hidden_states:
            return x, pooled
        return x, pooled, (*(state[:, : x.shape[1]] for state in hidden_states[:-1]), x)

    def _layer(self) -> Layer:
        return self.layer(
            mlp_width=self.config.encoder_ffn_dim,
            activation=self.config.activation_function,
            norm_epsilon=NORM_EPSILON,
            dropout=self.config.dropout,
            attention_dropout=self.config.attention_dropout,
            activation_dropout=self.config.activation_dropout,
            key_bias=False,
            kernel_init=nn.initializers.normal(self.config.init_std),
        )


def _sinusoids(rng: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Whisper's fixed positions `[T, D]`: the first half sines, the second half cosines."""
    steps, width = shape
    scales = np.exp(-np.log(10_000.0) / max(width // 2 - 1, 1) * np.arange(width // 2))
    angles = np.arange(steps)[:, None] * scales[None]
    return jnp.asarray(np.concatenate([np.sin(angles), np.cos(angles)], axis=1), jnp.float32)
