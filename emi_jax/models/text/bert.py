"""BERT (Devlin et al. 2019) and its kin: RoBERTa (Liu et al. 2019), XLM-RoBERTa (Conneau et al. 2020), DistilBERT."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp

from emi_jax.models.config import read_config
from emi_jax.models.encoder import Encoder
from emi_jax.models.norm import LayerNorm
from emi_jax.models.text.embedding import TokenEmbedding
from emi_jax.models.transformer import ACTIVATIONS, Transformer, key_mask

ONLY_ENCODER = {"is_decoder": (False,), "add_cross_attention": (False,)}


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The fields of a Hugging Face `bert` config that the encoder reads, with their defaults there.

    `add_pooling_layer` is ours: Hugging Face has a class for each. Without the pooler the pooled output is the class
    token.
    """

    model_type: ClassVar[str] = "bert"
    attention_output_dropout: ClassVar[float | None] = None
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
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        return read_config(
            cls, config, {"hidden_act": ACTIVATIONS, "position_embedding_type": ("absolute", None), **ONLY_ENCODER}
        )

    @property
    def padding_id(self) -> int | None:
        """As in `TokenEmbedding`."""
        return None

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens that the encoder accepts."""
        return self.max_position_embeddings


@dataclasses.dataclass(frozen=True)
class RobertaConfig(BertConfig):
    """The fields of a Hugging Face `roberta` config that the encoder reads, with their defaults there.

    The positions of padding and of the ids before it are never used: 514 positions hold 512 tokens.
    """

    model_type: ClassVar[str] = "roberta"
    vocab_size: int = 50265
    pad_token_id: int | None = 1

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        result = super().from_dict(config)
        if result.pad_token_id is None:
            raise ValueError("pad_token_id = None: positions start after the id of padding, expected a number")
        return result

    @property
    def padding_id(self) -> int | None:
        """As in `TokenEmbedding`."""
        return self.pad_token_id

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens that the encoder accepts."""
        assert self.pad_token_id is not None
        return self.max_position_embeddings - self.pad_token_id - 1


@dataclasses.dataclass(frozen=True)
class XLMRobertaConfig(RobertaConfig):
    """The fields of a Hugging Face `xlm-roberta` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "xlm-roberta"
    vocab_size: int = 30522


@dataclasses.dataclass(frozen=True)
class DistilBertConfig:
    """The fields of a Hugging Face `distilbert` config that the encoder reads, with their defaults there.

    DistilBERT (Sanh et al. 2019) is a BERT without segment types, pooler and dropout after the attention. Its config
    has names of its own; the properties give them BERT's.
    """

    model_type: ClassVar[str] = "distilbert"
    layer_norm_eps: ClassVar[float] = 1e-12
    type_vocab_size: ClassVar[int] = 0
    add_pooling_layer: ClassVar[bool] = False
    padding_id: ClassVar[None] = None
    attention_output_dropout: ClassVar[float] = 0.0
    vocab_size: int = 30522
    max_position_embeddings: int = 512
    n_layers: int = 6
    n_heads: int = 12
    dim: int = 768
    hidden_dim: int = 3072
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation: str = "gelu"
    initializer_range: float = 0.02
    pad_token_id: int | None = 0

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        return read_config(cls, config, {"activation": ACTIVATIONS})

    num_hidden_layers = property(lambda self: self.n_layers)
    num_attention_heads = property(lambda self: self.n_heads)
    hidden_size = property(lambda self: self.dim)
    intermediate_size = property(lambda self: self.hidden_dim)
    hidden_act = property(lambda self: self.activation)
    hidden_dropout_prob = property(lambda self: self.dropout)
    attention_probs_dropout_prob = property(lambda self: self.attention_dropout)
    max_tokens = property(lambda self: self.max_position_embeddings)


class Bert(Encoder):
    """BERT, RoBERTa, XLM-RoBERTa or DistilBERT as the `Model` class of transformers, for single segments.

    Attributes as in `Encoder`.
    """

    config: BertConfig | DistilBertConfig

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
        layer = self.layer(
            mlp_width=config.intermediate_size,
            activation=config.hidden_act,
            norm_first=False,
            norm_epsilon=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            attention_output_dropout=config.attention_output_dropout,
            attention_dropout=config.attention_probs_dropout_prob,
            kernel_init=nn.initializers.normal(config.initializer_range),
        )
        x = TokenEmbedding(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            config.padding_id,
            config.initializer_range,
            name="embedding",
        )(tokens)
        x = LayerNorm(config.layer_norm_eps, name="first_norm")(x)
        x = nn.Dropout(config.hidden_dropout_prob)(x, deterministic=deterministic)
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, key_mask(attention_mask), deterministic)
        pooled = x[:, 0]
        if config.add_pooling_layer:
            pooled = jnp.tanh(layer.dense(config.hidden_size, "pooler")(pooled))
        return (x, pooled, hidden_states) if output_hidden_states else (x, pooled)
