"""The convolutional front end of wav2vec 2.0, HuBERT, WavLM and data2vec: from samples to steps."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.models.audio.speech_config import SpeechConfig
from emi_jax.models.audio.steps import count_true, frame
from emi_jax.models.dense import Dense
from emi_jax.models.norm import LayerNorm
from emi_jax.models.transformer import ACTIVATIONS

NORM_EPSILON = 1e-5  # PyTorch's default, which the Hugging Face front end uses whatever the config's layer_norm_eps


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

    config: SpeechConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, waveform: jax.Array, mask: jax.Array) -> jax.Array:
        """Maps waveform, float `[B, S]`, with mask, bool `[B, S]`, to float32 `[B, T, conv_dim[-1]]`.

        A step whose receptive field touches padding (see `Steps`) holds a finite value that means nothing.
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
