"""Text encoders: BERT (Devlin et al. 2019) and the text transformer of CLIP (Radford et al. 2021)."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.kernels.attention import Implementation
from emi_jax.models.config import read_config
from emi_jax.models.norm import LayerNorm
from emi_jax.models.transformer import ACTIVATIONS, Layer, Transformer, key_mask

# CLIP checkpoints older than transformers 4.31 carry this wrong id; their end token is the highest id of a row.
LEGACY_CLIP_EOS = 2


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The fields of a Hugging Face `bert` config that the encoder reads, with their defaults there.

    `add_pooling_layer` is ours: Hugging Face has a class for each. Without the pooler the pooled output is the class
    token.
    """

    model_type: ClassVar[str] = "bert"
    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 0
    add_pooling_layer: bool = True

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "BertConfig":
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        only_encoder = {"is_decoder": (False,), "add_cross_attention": (False,)}
        return read_config(
            cls, config, {"hidden_act": ACTIVATIONS, "position_embedding_type": ("absolute", None), **only_encoder}
        )


@dataclasses.dataclass(frozen=True)
class CLIPTextConfig:
    """The fields of a Hugging Face `clip_text_model` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "clip_text_model"
    vocab_size: int = 49408
    hidden_size: int = 512
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    intermediate_size: int = 2048
    hidden_act: str = "quick_gelu"
    attention_dropout: float = 0.0
    max_position_embeddings: int = 77
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    pad_token_id: int | None = 1
    bos_token_id: int | None = 49406
    eos_token_id: int = 49407

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "CLIPTextConfig":
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        return read_config(cls, config, {"hidden_act": ACTIVATIONS})


class TokenEmbedding(nn.Module):
    """Words and learned positions; BERT adds the type of the segment, of which we use the first alone.

    Attributes:
        config: sizes.
        types: number of segment types, 0 = none.
    """

    config: BertConfig | CLIPTextConfig
    types: int = 0

    @nn.compact
    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Maps tokens, int `[B, L]`, to float32 `[B, L, D]`."""
        L, limit = tokens.shape[1], self.config.max_position_embeddings
        if limit < L:
            raise ValueError(f"{L} tokens, the encoder has {limit} positions (max_position_embeddings): cut the text")
        D, init = self.config.hidden_size, nn.initializers.normal(self.config.initializer_range)
        x = nn.Embed(self.config.vocab_size, D, embedding_init=init, name="words")(tokens)
        x = x + self.param("positions", init, (limit, D))[None, :L]
        if self.types:
            x = x + self.param("types", init, (self.types, D))[None, :1]
        return x


class Bert(nn.Module):
    """BERT as `transformers.BertModel`, for single segments.

    Attributes:
        config: sizes.
        dtype: dtype of the operands of matrix products; parameters and results are float32.
        remat: recompute each layer in the backward pass instead of storing its activations.
        attention_implementation: as in `dot_product_attention`.
    """

    config: BertConfig
    dtype: DTypeLike = jnp.float32
    remat: bool = False
    attention_implementation: Implementation | None = None

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        attention_mask: jax.Array | None = None,
        deterministic: bool = True,
        output_hidden_states: bool = False,
    ) -> tuple[Any, ...]:
        """Encodes texts.

        Args:
            tokens: int `[B, L]`.
            attention_mask: bool `[B, L]`, True = a token, False = padding; None = all are tokens.
            deterministic: False needs the rng stream "dropout".
            output_hidden_states: whether to return the hidden states as well.

        Returns:
            The tokens, float32 `[B, L, D]`; the pooled text `[B, D]`: the pooler's output, or the first token's where
            there is no pooler; if requested, the hidden states after the embedding and after each layer.
        """
        config = self.config
        layer = Layer(
            num_heads=config.num_attention_heads,
            mlp_width=config.intermediate_size,
            activation=config.hidden_act,
            norm_first=False,
            norm_epsilon=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
            kernel_init=nn.initializers.normal(config.initializer_range),
            dtype=self.dtype,
            attention_implementation=self.attention_implementation,
        )
        x = TokenEmbedding(config, config.type_vocab_size, name="embedding")(tokens)
        x = LayerNorm(config.layer_norm_eps, name="first_norm")(x)
        x = nn.Dropout(config.hidden_dropout_prob)(x, deterministic=deterministic)
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, key_mask(attention_mask), deterministic)
        pooled = x[:, 0]
        if config.add_pooling_layer:
            pooled = jnp.tanh(layer.dense(config.hidden_size, "pooler")(pooled))
        return (x, pooled, hidden_states) if output_hidden_states else (x, pooled)


class CLIPText(nn.Module):
    """The text transformer of CLIP as `transformers.CLIPTextModel`; attributes as in `Bert`."""

    config: CLIPTextConfig
    dtype: DTypeLike = jnp.float32
    remat: bool = False
    attention_implementation: Implementation | None = None

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        attention_mask: jax.Array | None = None,
        deterministic: bool = True,
        output_hidden_states: bool = False,
    ) -> tuple[Any, ...]:
        """Encodes texts; arguments and results as in `Bert`, pooled is the state of the end token.

        A token sees itself and the tokens before it, padding excepted.
        """
        config = self.config
        layer = Layer(
            num_heads=config.num_attention_heads,
            mlp_width=config.intermediate_size,
            activation=config.hidden_act,
            norm_epsilon=config.layer_norm_eps,
            attention_dropout=config.attention_dropout,
            kernel_init=nn.initializers.normal(config.initializer_range),
            dtype=self.dtype,
            attention_implementation=self.attention_implementation,
        )
        x = TokenEmbedding(config, name="embedding")(tokens)
        causal = jnp.tril(jnp.ones((1, 1, tokens.shape[1], tokens.shape[1]), bool))
        allowed = causal if attention_mask is None else causal & attention_mask[:, None, None, :]
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, allowed, deterministic)
        x = LayerNorm(config.layer_norm_eps, name="final_norm")(x)
        pooled = jnp.take_along_axis(x, end_position(tokens, config.eos_token_id)[:, None, None], axis=1)[:, 0]
        return (x, pooled, hidden_states) if output_hidden_states else (x, pooled)


def end_position(tokens: jax.Array, eos_token_id: int) -> jax.Array:
    """Where each row of tokens, int `[B, L]`, ends: int `[B]`, by the rules of `transformers.CLIPTextModel`.

    The first end token, 0 where there is none; under the legacy id the first of the highest ids.
    """
    return jnp.argmax(tokens if eos_token_id == LEGACY_CLIP_EOS else tokens == eos_token_id, axis=-1)
