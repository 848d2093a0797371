"""GTE's text encoder (Zhang et al. 2024, mGTE): a post-norm BERT with rotary positions and gated MLPs."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax

from emi_jax.models.config import read_config
from emi_jax.models.encoder import Encoder
from emi_jax.models.norm import LayerNorm
from emi_jax.models.rotary import Rotary, read_rotary
from emi_jax.models.text.embedding import TokenEmbedding
from emi_jax.models.transformer import ACTIVATIONS, Transformer, key_mask

# Defaults of model_type "new", under which the checkpoints were published, where they differ from those of "gte".
NEW_DEFAULTS = {"vocab_size": 30528, "max_position_embeddings": 2048, "rope_theta": 10_000.0, "pad_token_id": None}


@dataclasses.dataclass(frozen=True)
class GteConfig:
    """The fields of a Hugging Face `gte` config that the encoder reads, with their defaults there.

    `rope_theta` and `rope_factor` are ours, as in `Rotary`: there they are in `rope_parameters`, and in configs of
    model_type "new" in `rope_theta` and `rope_scaling`.
    """

    model_type: ClassVar[str] = "gte"
    vocab_size: int = 250048
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.0
    max_position_embeddings: int = 8192
    type_vocab_size: int = 1
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    pad_token_id: int | None = 1
    rope_theta: float = 160_000.0
    rope_factor: float = 1.0

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        if config.get("model_type") == "new":
            config = {**NEW_DEFAULTS, **config}
        supported = {
            "hidden_act": ACTIVATIONS,
            "position_embedding_type": ("rope",),
            "layer_norm_type": ("layer_norm",),
            "pack_qkv": (True,),
            "logn_attention_scale": (False, None),
        }
        result = read_config(cls, config, supported)
        parameters = config.get("rope_scaling") or config.get("rope_parameters")
        if parameters is None:
            return result
        rotary = read_rotary(parameters, result.rope_theta, result.hidden_size // result.num_attention_heads)
        return dataclasses.replace(result, rope_theta=rotary.theta, rope_factor=rotary.factor)

    @property
    def for_transformers(self) -> dict[str, Any]:
        """The fields of a config.json that are ours, as transformers reads them."""
        scaling: dict[str, Any] = {"rope_type": "default"}
        if self.rope_factor != 1:
            scaling = {"rope_type": "linear", "factor": self.rope_factor}
        return {"rope_parameters": {**scaling, "rope_theta": self.rope_theta}}

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens that the encoder was made for."""
        return self.max_position_embeddings


class Gte(Encoder):
    """GTE as `transformers.GteModel`, for single segments; attributes as in `Encoder`."""

    config: GteConfig

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        attention_mask: jax.Array | None = None,
        deterministic: bool = True,
        output_hidden_states: bool = False,
    ) -> tuple[Any, ...]:
        """Encodes texts; arguments and results as in `Bert`, pooled is the class token: GTE's sentence embedding."""
        config = self.config
        layer = self.layer(
            mlp_width=config.intermediate_size,
            activation=config.hidden_act,
            norm_first=False,
            norm_epsilon=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
            activation_dropout=config.hidden_dropout_prob,
            hidden_bias=False,
            gated=True,
            rotary=Rotary(config.rope_theta, config.rope_factor),
            kernel_init=nn.initializers.normal(config.initializer_range),
        )
        x = TokenEmbedding(
            config.vocab_size,
            config.hidden_size,
            types=config.type_vocab_size,
            initializer_range=config.initializer_range,
            name="embedding",
        )(tokens)
        x = LayerNorm(config.layer_norm_eps, name="first_norm")(x)
        x = nn.Dropout(config.hidden_dropout_prob)(x, deterministic=deterministic)
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, key_mask(attention_mask), deterministic)
        return (x, x[:, 0], hidden_states) if output_hidden_states else (x, x[:, 0])
