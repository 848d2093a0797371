"""The conformer block (Gulati et al. 2020) as w2v-BERT 2.0 uses it: relative keys and a causal convolution."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from emi_jax.models.transformer import ACTIVATIONS, MLP, Attention, Layer


@dataclasses.dataclass(frozen=True)
class ConformerLayer(Layer):
    """The hyperparameters of a conformer block.

    Attributes:
        conv_width: steps that the depthwise convolution sees: its own and earlier ones.
        conv_dropout: dropout rate after the convolution module.
    """

    conv_width: int = 31
    conv_dropout: float = 0.0


class DepthwiseConvolution(nn.Module):
    """A causal convolution of each channel with a kernel of its own."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x `[B, T, D]` to float32 `[B, T, D]`."""
        T, D = x.shape[1:]
        kernel = self.param("kernel", nn.initializers.he_normal(), (self.width, 1, D))
        x = jnp.pad(x, ((0, 0), (self.width - 1, 0), (0, 0)))
        # A sum of shifted products, which XLA fuses: it has no fast convolution of single channels on every platform.
        return sum((x[:, tap : tap + T] * kernel[None, tap] for tap in range(self.width)), jnp.zeros((1, 1, D)))


class ConvolutionModule(nn.Module):
    """Gated pointwise expansion, causal depthwise convolution, layer norm, activation, pointwise projection."""

    layer: ConformerLayer

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, deterministic: bool) -> jax.Array:
        """Maps x `[B, T, D]` to float32 `[B, T, D]`; mask, bool `[B, T]`, keeps padding from reaching other steps."""
        layer, D = self.layer, x.shape[-1]
        x = layer.norm("norm")(x)
        if mask is not None:
            x = jnp.where(mask[:, :, None], x, 0.0)
        values, gates = jnp.split(layer.dense(2 * D, "expand", use_bias=False)(x), 2, axis=-1)
        x = DepthwiseConvolution(layer.conv_width, name="depthwise")(values * jax.nn.sigmoid(gates))
        x = ACTIVATIONS[layer.activation](layer.norm("depthwise_norm")(x))
        x = layer.dense(D, "project", use_bias=False)(x)
        return nn.Dropout(layer.conv_dropout)(x, deterministic=deterministic)


class ConformerBlock(nn.Module):
    """Half an MLP, attention, a convolution module, half an MLP, each with a residual, and a layer norm."""

    layer: ConformerLayer

    @nn.compact
    def __call__(
        self, x: jax.Array, attention_mask: jax.Array | None, deterministic: bool, bias: jax.Array | None = None
    ) -> jax.Array:
        """Maps x `[B, T, D]` to float32 `[B, T, D]`.

        Args:
            x: the steps.
            attention_mask: that of `key_mask`, `[B, 1, 1, T]`, or None.
            deterministic: False needs the rng stream "dropout".
            bias: as in `Attention`.
        """
        layer = self.layer
        dropout = nn.Dropout(layer.dropout, deterministic=deterministic)
        attention_dropout = nn.Dropout(layer.attention_dropout, deterministic=deterministic)
        x = x + 0.5 * dropout(MLP(layer, name="first_mlp")(layer.norm("first_norm")(x), deterministic))
        normed = layer.norm("attention_norm")(x)
        attended = Attention(layer, name="attention")(normed, attention_mask, deterministic, bias=bias)
        x = x + attention_dropout(attended)
        mask = None if attention_mask is None else attention_mask[:, 0, 0]
        x = x + ConvolutionModule(layer, name="convolution")(x, mask, deterministic)
        x = x + 0.5 * dropout(MLP(layer, name="second_mlp")(layer.norm("second_norm")(x), deterministic))
        return layer.norm("final_norm")(x)
