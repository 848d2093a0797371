"""The convolutional front end of wav2vec 2.0 and HuBERT: from samples to steps, and the same for masks."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.models.audio.speech_config import Wav2Vec2Config
from emi_jax.models.dense import Dense
from emi_jax.models.norm import LayerNorm
from emi_jax.models.transformer import ACTIVATIONS

NORM_EPSILON = 1e-5  # PyTorch's default, which the Hugging Face front end uses whatever the config's layer_norm_eps


def receptive_field(config: Wav2Vec2Config) -> tuple[int, int]:
    """Width and stride of a step in samples: (400, 320) for the base models."""
    width, stride = 1, 1
    for kernel, step in zip(config.conv_kernel, config.conv_stride, strict=True):
        width, stride = width + (kernel - 1) * stride, stride * step
    return width, stride


def audio_step_share(flags: jax.Array, config: Wav2Vec2Config) -> jax.Array:
    """The share of samples flagged True in the receptive field of each step.

    Args:
        flags: bool `[B, S]`.
        config: the speech encoder's config.

    Returns:
        float32 `[B, T]` in [0, 1].
    """
    width, stride = receptive_field(config)
    return count_true(flags, width, stride) / width


def audio_step_mask(mask: jax.Array, config: Wav2Vec2Config) -> jax.Array:
    """The steps whose whole receptive field is valid.

    For a mask whose padding follows the samples this is Hugging Face's `_get_feat_extract_output_lengths`.

    Args:
        mask: bool `[B, S]`, True = a sample, False = padding.
        config: the speech encoder's config.

    Returns:
        bool `[B, T]`.

    Raises:
        ValueError: S is shorter than one step's receptive field.
    """
    width, stride = receptive_field(config)
    return count_true(mask, width, stride) == width


def count_true(flags: jax.Array, width: int, stride: int) -> jax.Array:
    """Counts True in windows of `width` samples every `stride`: int32 `[B, T]`."""
    B, length = flags.shape
    steps, unit = _num_steps(length, width, stride), math.gcd(width, stride)
    units = flags[:, : length // unit * unit].reshape(B, -1, unit).sum(axis=2, dtype=jnp.int32)
    total = jnp.cumsum(jnp.pad(units, ((0, 0), (1, 0))), axis=1)
    return total[:, width // unit :: stride // unit][:, :steps] - total[:, :: stride // unit][:, :steps]


def _num_steps(length: int, width: int, stride: int) -> int:
    if length < width:
        raise ValueError(f"{length} samples are fewer than the {width} that one step sees: pad the audio")
    return (length - width) // stride + 1


def frame(x: jax.Array, width: int, stride: int) -> jax.Array:
    """Cuts x `[B, T, C]` into windows: `[B, (T - width) // stride + 1, width * C]`, time before channel."""
    last = (_num_steps(x.shape[1], width, stride) - 1) * stride + 1
    return jnp.concatenate([x[:, first : first + last : stride] for first in range(width)], axis=-1)


class MaskedGroupNorm(nn.Module):
    """`torch.nn.GroupNorm` with one group for each channel and statistics over valid steps only.

    Without padding it equals PyTorch's, which depends on how much padding follows; this does not.
    """

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Normalises x, float `[B, T, C]`, by the statistics of the steps at which mask, bool `[B, T]`, is True."""
        scale = self.param("scale", nn.initializers.ones_init(), (x.shape[-1],))
        bias = self.param("bias", nn.initializers.zeros_init(), (x.shape[-1],))
        valid = mask[:, :, None]
        count = jnp.maximum(valid.sum(axis=1, keepdims=True), 1)
        x = x - jnp.where(valid, x, 0).sum(axis=1, keepdims=True) / count
        variance = jnp.where(valid, jnp.square(x), 0).sum(axis=1, keepdims=True) / count
        return x * jax.lax.rsqrt(variance + NORM_EPSILON) * scale[None, None] + bias[None, None]


class FeatureExtractor(nn.Module):
    """The convolutions, each a matrix product over windows.

    With `feat_extract_norm = "group"` the first is followed by a group norm, with "layer" each by a layer norm.
    """

    config: Wav2Vec2Config
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, waveform: jax.Array, mask: jax.Array) -> jax.Array:
        """Maps waveform, float `[B, S]`, with mask, bool `[B, S]`, to float32 `[B, T, conv_dim[-1]]`.

        A step whose receptive field touches padding (`audio_step_mask`) holds a finite value that means nothing.
        """
        config = self.config
        x = jnp.where(mask, waveform, 0.0)[:, :, None]
        layers = zip(config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
        for index, (width, kernel, stride) in enumerate(layers):
            conv = Dense(width, config.conv_bias, self.dtype, nn.initializers.he_normal(), name=f"conv_{index}")
            x = conv(frame(x, kernel, stride))
            if config.feat_extract_norm == "layer":
                x = LayerNorm(NORM_EPSILON, name=f"norm_{index}")(x)
            elif index == 0:
                x = MaskedGroupNorm(name="norm_0")(x, count_true(mask, kernel, stride) == kernel)
            x = ACTIVATIONS[config.feat_extract_activation](x)
        return x
