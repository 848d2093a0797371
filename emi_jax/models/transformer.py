"""The transformer of all encoders: pre-norm (ViT, CLIP, stable wav2vec 2.0) or post-norm (BERT, wav2vec 2.0).

Options of a layer cover what distinguishes the families: biases, gated MLPs, rotary and relative positions, local
attention.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.kernels.attention import Implementation, dot_product_attention
from emi_jax.kernels.gelu import gelu
from emi_jax.models.dense import Dense
from emi_jax.models.norm import LayerNorm
from emi_jax.models.relative import BiasGate, RelativeKeys
from emi_jax.models.rotary import GridRotary, Rotary, rotate

_LECUN_NORMAL = nn.initializers.lecun_normal()

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "gelu_new": jax.nn.gelu,
    "gelu_pytorch_tanh": jax.nn.gelu,
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "relu": jax.nn.relu,
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}


@dataclasses.dataclass(frozen=True)
class Layer:
    """The hyperparameters of a transformer layer.

    Attributes:
        num_heads: attention heads; must divide the width D.
        mlp_width: width of the hidden layer of the MLP.
        activation: a key of `ACTIVATIONS`.
        norm_first: True = x + f(norm(x)) (pre-norm), False = norm(x + f(x)) (post-norm).
        norm_epsilon: added to the variance in every layer norm.
        layer_scale: initial value of a factor for each channel of the attention's and the MLP's results; None = no
            factors.
        dropout: dropout rate after the attention and after the MLP.
        attention_output_dropout: that after the attention if it is another; None = `dropout`.
        drop_path: probability that an example skips the attention, and the MLP, in training (Huang et al. 2016).
        attention_dropout: dropout rate of the attention weights.
        activation_dropout: dropout rate of the hidden layer of the MLP.
        attention_norm: False leaves out the norm before the attention; for pre-norm layers.
        qkv_bias: whether query, key and value have a bias.
        key_bias: whether the key has one where query and value do.
        hidden_bias: whether the hidden layer of the MLP and its gate have a bias.
        output_bias: whether the output layers of the attention and of the MLP have a bias.
        norm_bias: whether layer norms have a bias.
        gated: whether the hidden layer of the MLP is multiplied by an activated gate, see `MLP`.
        rotary: rotary positions of queries and keys; None = none. For attention of a sequence to itself.
        gated_bias: whether each query gates the bias of the attention logits, see `BiasGate`.
        relative_keys: most steps back and ahead that relative keys distinguish, see `RelativeKeys`; None = no keys.
        window: a step attends to steps at most this far away; None = to all.
        kernel_init: initializer of all kernels.
        dtype: dtype of the operands of matrix products.
        attention_implementation: as in `dot_product_attention`.
    """

    num_heads: int
    mlp_width: int
    activation: str = "gelu"
    norm_first: bool = True
    norm_epsilon: float = 1e-6
    layer_scale: float | None = None
    dropout: float = 0.0
    attention_output_dropout: float | None = None
    drop_path: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    attention_norm: bool = True
    qkv_bias: bool = True
    key_bias: bool = True
    hidden_bias: bool = True
    output_bias: bool = True
    norm_bias: bool = True
    gated: bool = False
    rotary: Rotary | GridRotary | None = None
    gated_bias: bool = False
    relative_keys: tuple[int, int] | None = None
    window: int | None = None
    kernel_init: nn.initializers.Initializer = _LECUN_NORMAL
    dtype: DTypeLike = jnp.float32
    attention_implementation: Implementation | None = None

    def dense(self, features: int, name: str, use_bias: bool = True) -> Dense:
        """A linear layer with this transformer's dtype and initialisation."""
        return Dense(features, use_bias, self.dtype, self.kernel_init, name=name)

    def norm(self, name: str) -> LayerNorm:
        """A layer norm with this transformer's epsilon."""
        return LayerNorm(self.norm_epsilon, use_bias=self.norm_bias, name=name)


class Attention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, Eq. 1) of a sequence to itself or to a memory of another length."""

    layer: Layer

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        attention_mask: jax.Array | None = None,
        deterministic: bool = True,
        memory: jax.Array | None = None,
        bias: jax.Array | None = None,
    ) -> jax.Array:
        """Reads the memory from each step of x.

        Args:
            x: float `[B, T, D]`.
            attention_mask: bool, broadcast to `[B, heads, T, S]` (query, key), True = visible; None = all are.
            deterministic: True switches the dropout of attention weights off; False needs the rng stream "dropout".
            memory: float `[B, S, D]`; None = x.
            bias: float, broadcast to `[B, heads, T, S]`, added to the attention logits.

        Returns:
            float32 `[B, T, D]`.
        """
        B, T, D = x.shape
        heads = self.layer.num_heads
        check_heads(heads, D)
        memory = x if memory is None else memory
        qkv_bias, key_bias = self.layer.qkv_bias, self.layer.qkv_bias and self.layer.key_bias
        query, key, value = (
            self.layer.dense(D, name, use_bias)(y).reshape(B, -1, heads, D // heads)
            for name, y, use_bias in (("query", x, qkv_bias), ("key", memory, key_bias), ("value", memory, qkv_bias))
        )
        if self.layer.rotary is not None:
            query, key = rotate(query, self.layer.rotary), rotate(key, self.layer.rotary)
        query, key, value = (y.astype(self.layer.dtype) for y in (query, key, value))
        if self.layer.gated_bias and bias is not None:
            bias = bias * BiasGate(heads, self.layer.dtype, name="gate")(x)
        if self.layer.relative_keys is not None:
            relative = RelativeKeys(*self.layer.relative_keys, name="relative_keys")(query)
            bias = relative if bias is None else bias + relative
        if self.layer.window is not None:
            near = _near(T, memory.shape[1], self.layer.window)
            attention_mask = near if attention_mask is None else attention_mask & near
        rate, keep = self.layer.attention_dropout, None
        if rate > 0 and not deterministic:
            keep = jax.random.bernoulli(self.make_rng("dropout"), 1 - rate, (B, heads, T, memory.shape[1]))
        mixed = dot_product_attention(
            query, key, value, attention_mask, bias, self.layer.attention_implementation, keep, rate
        )
        return self.layer.dense(D, "output", self.layer.output_bias)(mixed.reshape(B, T, D))


def _near(queries: int, keys: int, window: int) -> jax.Array:
    """The attention mask `[1, 1, queries, keys]` under which a query sees keys at most `window` steps away."""
    distance = jnp.arange(queries)[:, None] - jnp.arange(keys)[None]
    return (jnp.abs(distance) <= window)[None, None]


class MLP(nn.Module):
    """Two linear layers with an activation f between them: output(f(hidden(x))).

    Gated (GEGLU and its kin, Shazeer 2020, Eq. 6): output(f(gate(x)) * hidden(x)).
    """

    layer: Layer

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """Maps x `[B, T, D]` to float32 `[B, T, D]`."""
        layer, activation = self.layer, ACTIVATIONS[self.layer.activation]
        hidden = layer.dense(layer.mlp_width, "hidden", layer.hidden_bias)(x)
        if layer.gated:
            hidden = activation(layer.dense(layer.mlp_width, "gate", layer.hidden_bias)(x)) * hidden
        else:
            hidden = activation(hidden)
        hidden = nn.Dropout(layer.activation_dropout)(hidden, deterministic=deterministic)
        return layer.dense(x.shape[-1], "output", layer.output_bias)(hidden)


class LayerScale(nn.Module):
    """A learned factor for each channel (Touvron et al. 2021), with its initial value."""

    initial: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x `[B, T, D]` to float32 `[B, T, D]`."""
        return x * self.param("layer_scale", nn.initializers.constant(self.initial), x.shape[-1:])[None, None]


class TransformerLayer(nn.Module):
    """Attention and MLP, each with a residual and a layer norm."""

    layer: Layer

    @nn.compact
    def __call__(
        self, x: jax.Array, attention_mask: jax.Array | None, deterministic: bool, bias: jax.Array | None = None
    ) -> jax.Array:
        """Maps x `[B, T, D]` to float32 `[B, T, D]`; mask and bias as in `Attention`."""
        attention, mlp = Attention(self.layer, name="attention"), MLP(self.layer, name="mlp")
        attention_norm, mlp_norm = self.layer.norm("attention_norm"), self.layer.norm("mlp_norm")
        dropout = attention_dropout = nn.Dropout(self.layer.dropout, deterministic=deterministic)
        if (rate := self.layer.attention_output_dropout) is not None:
            attention_dropout = nn.Dropout(rate, deterministic=deterministic)
        drop_path = nn.Dropout(self.layer.drop_path, broadcast_dims=(1, 2), deterministic=deterministic)

        def branch(name: str, y: jax.Array) -> jax.Array:
            if self.layer.layer_scale is not None:
                y = LayerScale(self.layer.layer_scale, name=f"{name}_scale")(y)
            return drop_path(attention_dropout(y) if name == "attention" else dropout(y))

        if self.layer.norm_first:
            normed = attention_norm(x) if self.layer.attention_norm else x
            x = x + branch("attention", attention(normed, attention_mask, deterministic, bias=bias))
            return x + branch("mlp", mlp(mlp_norm(x), deterministic))
        x = attention_norm(x + branch("attention", attention(x, attention_mask, deterministic, bias=bias)))
        return mlp_norm(x + branch("mlp", mlp(x, deterministic)))


class Transformer(nn.Module):
    """A stack of layers.

    Attributes:
        layers: the hyperparameters of each layer.
        layerdrop: probability that a layer is skipped in training (Fan et al. 2020), one draw for the whole batch.
        remat: recompute each layer's activations in the backward pass instead of storing them.
        block: the module of a layer, made and called like `TransformerLayer`.
    """

    layers: tuple[Layer, ...]
    layerdrop: float = 0.0
    remat: bool = False
    block: type[nn.Module] = TransformerLayer

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        attention_mask: jax.Array | None = None,
        deterministic: bool = True,
        bias: jax.Array | None = None,
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """Runs the stack.

        Args:
            x: float `[B, T, D]`.
            attention_mask: as in `Attention`.
            deterministic: False needs the rng stream "dropout".
            bias: as in `Attention`, the same for all layers.

        Returns:
            The last hidden state, float32 `[B, T, D]`, and all hidden states: the input and each layer's output.
        """
        make_layer: Any = nn.remat(self.block, static_argnums=(3,)) if self.remat else self.block
        T = x.shape[1]
        if T % 2 and self._takes_another_step:
            x, attention_mask = _with_another_step(x, attention_mask)
        hidden_states = [x]
        for index, layer in enumerate(self.layers):
            y = make_layer(layer, name=f"layers_{index}")(x, attention_mask, deterministic, bias)
            if self.layerdrop > 0 and not deterministic:
                y = jnp.where(jax.random.bernoulli(self.make_rng("dropout"), self.layerdrop), x, y)
            x = y
            hidden_states.append(x)
        return x[:, :T], tuple(state[:, :T] for state in hidden_states)

    @property
    def _takes_another_step(self) -> bool:
        """Whether an odd number of steps is made even here, once, in place of in each attention by cuDNN."""
        return self.block is TransformerLayer and all(
            layer.attention_implementation == "cudnn" and layer.rotary is None and layer.window is None
            for layer in self.layers
        )


def _with_another_step(x: jax.Array, attention_mask: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Adds a step to x, `[B, T + 1, D]`, and the attention mask under which no step sees it."""
    if attention_mask is None:
        attention_mask = jnp.ones((len(x), 1, 1, x.shape[1]), bool)
    rows = int(attention_mask.shape[2] > 1)
    return jnp.pad(x, ((0, 0), (0, 1), (0, 0))), jnp.pad(attention_mask, ((0, 0), (0, 0), (0, rows), (0, 1)))


def check_heads(num_heads: int, width: int) -> None:
    """Raises a ValueError if attention heads cannot share a width evenly."""
    if width % num_heads:
        raise ValueError(f"num_heads = {num_heads} does not divide the width {width}: choose one of its divisors")


def key_mask(mask: jax.Array | None) -> jax.Array | None:
    """The attention mask `[B, 1, 1, T]` under which every query sees the valid keys of mask, bool `[B, T]`."""
    return None if mask is None else mask[:, None, None, :]
