"""The transformer of all encoders: pre-norm (ViT, CLIP, stable wav2vec 2.0) or post-norm (BERT, wav2vec 2.0)."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.models.attention import Kernel, attend
from emi_jax.models.dense import Dense
from emi_jax.models.gelu import gelu
from emi_jax.models.norm import LayerNorm

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
    "gelu_pytorch_tanh": functools.partial(jax.nn.gelu, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
}


@dataclasses.dataclass(frozen=True)
class Layer:
    """What one transformer layer is made of.

    Attributes:
        num_heads: attention heads; must divide the width D.
        mlp_width: width of the hidden layer of the MLP.
        activation: a key of `ACTIVATIONS`.
        norm_first: True = x + f(norm(x)) (pre-norm), False = norm(x + f(x)) (post-norm).
        norm_epsilon: added to the variance in every layer norm.
        dropout: rate after the attention and after the MLP.
        attention_dropout: rate on the attention weights.
        activation_dropout: rate after the activation of the MLP.
        qkv_bias: whether query, key and value have a bias.
        init_std: standard deviation of the initial kernels.
        dtype: dtype of the operands of matrix products.
        attention_implementation: the kernel, as in `attend`.
    """

    num_heads: int
    mlp_width: int
    activation: str = "gelu"
    norm_first: bool = True
    norm_epsilon: float = 1e-5
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    qkv_bias: bool = True
    init_std: float = 0.02
    dtype: DTypeLike = jnp.float32
    attention_implementation: Kernel | None = None

    def dense(self, features: int, name: str, use_bias: bool = True) -> Dense:
        """A linear layer with this transformer's dtype and initialisation."""
        return Dense(features, use_bias, self.dtype, nn.initializers.normal(self.init_std), name=name)


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, Eq. 1)."""

    layer: Layer

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, deterministic: bool) -> jax.Array:
        """Mixes the steps of x.

        Args:
            x: float `[B, T, D]`.
            mask: as in `attend`.
            deterministic: True switches the dropout of attention weights off.

        Returns:
            float32 `[B, T, D]`.
        """
        B, T, D = x.shape
        heads = self.layer.num_heads
        if D % heads:
            raise ValueError(f"num_attention_heads = {heads} does not divide hidden_size = {D}")
        query, key, value = (
            self.layer.dense(D, name, self.layer.qkv_bias)(x).reshape(B, T, heads, D // heads).astype(self.layer.dtype)
            for name in ("query", "key", "value")
        )
        rate, keep = self.layer.attention_dropout, None
        if rate > 0 and not deterministic:
            keep = jax.random.bernoulli(self.make_rng("dropout"), 1 - rate, (B, heads, T, T))
        mixed = attend(query, key, value, mask, self.layer.attention_implementation, keep, rate)
        return self.layer.dense(D, "output")(mixed.reshape(B, T, D))


class MLP(nn.Module):
    """Two linear layers with an activation between them."""

    layer: Layer

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """Maps x `[B, T, D]` to float32 `[B, T, D]`."""
        hidden = ACTIVATIONS[self.layer.activation](self.layer.dense(self.layer.mlp_width, "hidden")(x))
        hidden = nn.Dropout(self.layer.activation_dropout)(hidden, deterministic=deterministic)
        return self.layer.dense(x.shape[-1], "output")(hidden)


class TransformerLayer(nn.Module):
    """Attention and MLP, each with a residual and a layer norm."""

    layer: Layer

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, deterministic: bool) -> jax.Array:
        """Maps x `[B, T, D]` to float32 `[B, T, D]`; mask as in `Attention`."""
        attention, mlp = Attention(self.layer, name="attention"), MLP(self.layer, name="mlp")
        attention_norm = LayerNorm(self.layer.norm_epsilon, name="attention_norm")
        mlp_norm = LayerNorm(self.layer.norm_epsilon, name="mlp_norm")
        dropout = nn.Dropout(self.layer.dropout, deterministic=deterministic)
        if self.layer.norm_first:
            x = x + dropout(attention(attention_norm(x), mask, deterministic))
            return x + dropout(mlp(mlp_norm(x), deterministic))
        x = attention_norm(x + dropout(attention(x, mask, deterministic)))
        return mlp_norm(x + dropout(mlp(x, deterministic)))


class Transformer(nn.Module):
    """A stack of layers.

    Attributes:
        layer: what each layer is made of.
        num_layers: how many.
        layerdrop: chance that a layer is skipped in training (Fan et al. 2020), one draw for the whole batch.
        remat: recompute each layer's activations in the backward pass instead of storing them.
    """

    layer: Layer
    num_layers: int
    layerdrop: float = 0.0
    remat: bool = False

    @nn.compact
    def __call__(
        self, x: jax.Array, mask: jax.Array | None = None, deterministic: bool = True
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Runs the stack.

        Args:
            x: float `[B, T, D]`.
            mask: as in `Attention`.
            deterministic: False needs the rng stream "dropout".

        Returns:
            The last state, float32 `[B, T, D]`, and all states: the input and each layer's result.
        """
        make_layer: Any = nn.remat(TransformerLayer, static_argnums=(3,)) if self.remat else TransformerLayer
        states = [x]
        for index in range(self.num_layers):
            y = make_layer(self.layer, name=f"layers_{index}")(x, mask, deterministic)
            if self.layerdrop > 0 and not deterministic:
                y = jnp.where(jax.random.bernoulli(self.make_rng("dropout"), self.layerdrop), x, y)
            x = y
            states.append(x)
        return x, tuple(states)


def key_mask(mask: jax.Array | None) -> jax.Array | None:
    """The attention mask `[B, 1, 1, T]` that lets every query see the valid keys of mask, bool `[B, T]`."""
    return None if mask is None else mask[:, None, None, :]
