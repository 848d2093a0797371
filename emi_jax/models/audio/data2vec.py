"""data2vec for speech (Baevski et al. 2022): wav2vec 2.0 with a stack of narrow positional convolutions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.kernels.convolution import convolve
from emi_jax.models.audio.speech import Speech, position_groups
from emi_jax.models.audio.speech_config import Data2VecAudioConfig
from emi_jax.models.audio.speech_features import NORM_EPSILON
from emi_jax.models.norm import LayerNorm
from emi_jax.models.transformer import ACTIVATIONS


class PositionalConvolutions(nn.Module):
    """Grouped convolutions, each followed by a layer norm without parameters and an activation."""

    config: Data2VecAudioConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Maps x, float `[B, T, D]` with zeros where mask `[B, T]` is False, to float32 `[B, T, D]`."""
        for index in range(self.config.num_conv_pos_embeddings):
            layer = PositionalLayer(self.config, self.dtype, name=f"layers_{index}")
            x = layer(jnp.where(mask[:, :, None], x, 0.0))
        return x


class PositionalLayer(nn.Module):
    """One of the `PositionalConvolutions`."""

    config: Data2VecAudioConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x `[B, T, D]` to float32 `[B, T, D]`."""
        D, width = x.shape[-1], self.config.conv_pos_kernel_size
        groups = position_groups(self.config, D)
        kernel = self.param("kernel", nn.initializers.he_normal(), (width, D // groups, D))
        bias = self.param("bias", nn.initializers.zeros_init(), (D,))
        y = convolve(x, kernel, groups, self.dtype) + bias[None, None]
        y = LayerNorm(NORM_EPSILON, use_scale=False, use_bias=False)(y)
        return ACTIVATIONS[self.config.feat_extract_activation](y)


class Data2VecAudio(Speech):
    """`transformers.Data2VecAudioModel`.

    Unlike in transformers, padding is kept at 0 between the positional convolutions and so never changes a valid step.
    """

    def _positions(self, x: jax.Array, step_mask: jax.Array) -> jax.Array:
        return PositionalConvolutions(self.config, self.dtype, name="positions")(x, step_mask)
