"""The text transformer of CLIP (Radford et al. 2021)."""

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
from emi_jax.models.transformer import ACTIVATIONS, Transformer

# CLIP checkpoints older than transformers 4.31 carry this wrong id; their end token is the highest id of a row.
LEGACY_CLIP_EOS = 2


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
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        return read_config(cls, config, {"hidden_act": ACTIVATIONS})

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens that the encoder accepts."""
        return self.max_position_embeddings


class CLIPText(Encoder):
    """The text transformer of CLIP as `transformers.CLIPTextModel`; attributes as in `Encoder`."""

    config: CLIPTextConfig

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
        layer = self.layer(
            mlp_width=config.intermediate_size,
            activation=config.hidden_act,
            norm_epsilon=config.layer_norm_eps,
            attention_dropout=config.attention_dropout,
            kernel_init=nn.initializers.normal(config.initializer_range),
        )
        x = TokenEmbedding(
            config.vocab_size,
            config.hidden_size,
            positions=config.max_position_embeddings,
            initializer_range=config.initializer_range,
            name="embedding",
        )(tokens)
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
