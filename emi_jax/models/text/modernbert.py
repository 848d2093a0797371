"""ModernBERT (Warner et al. 2024): pre-norm without biases, rotary positions, gated MLPs, local and global layers."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp

from emi_jax.models.config import read_config
from emi_jax.models.encoder import Encoder
from emi_jax.models.norm import LayerNorm
from emi_jax.models.pooling import masked_mean
from emi_jax.models.rotary import Rotary, read_rotary
from emi_jax.models.text.embedding import TokenEmbedding
from emi_jax.models.transformer import ACTIVATIONS, Layer, Transformer, key_mask

GLOBAL, LOCAL = "full_attention", "sliding_attention"


@dataclasses.dataclass(frozen=True)
class ModernBertConfig:
    """The fields of a Hugging Face `modernbert` config that the encoder reads, with their defaults there.

    `layer_types` and the bases of the rotary positions are read from either spelling: that of today, `layer_types` and
    `rope_parameters`, or that of older files, `global_attn_every_n_layers`, `global_rope_theta` and `local_rope_theta`.
    """

    model_type: ClassVar[str] = "modernbert"
    vocab_size: int = 50368
    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    num_attention_heads: int = 12
    hidden_activation: str = "gelu"
    max_position_embeddings: int = 8192
    initializer_range: float = 0.02
    norm_eps: float = 1e-5
    pad_token_id: int | None = 50283
    attention_dropout: float = 0.0
    embedding_dropout: float = 0.0
    mlp_dropout: float = 0.0
    layer_types: tuple[str, ...] | None = None
    local_attention: int = 128
    global_rope_theta: float = 160_000.0
    local_rope_theta: float = 10_000.0
    classifier_pooling: str = "cls"

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        without = dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias"), (False,))
        supported = {"hidden_activation": ACTIVATIONS, "classifier_pooling": ("cls", "mean"), **without}
        result = read_config(cls, config, supported)
        count, period = result.num_hidden_layers, config.get("global_attn_every_n_layers", 3)
        if isinstance(period, bool) or not isinstance(period, int) or period < 1:
            raise ValueError(f"global_attn_every_n_layers = {period!r}: expected 1 or more")
        kinds = result.layer_types or tuple(LOCAL if index % period else GLOBAL for index in range(count))
        if len(kinds) != count or not set(kinds) <= {GLOBAL, LOCAL}:
            raise ValueError(f"layer_types = {kinds}: expected {count}, each of them {GLOBAL!r} or {LOCAL!r}")
        width = result.hidden_size // result.num_attention_heads
        scaling, nested = config.get("rope_scaling"), config.get("rope_parameters")
        if nested is not None and not isinstance(nested, Mapping):
            raise ValueError(f"rope_parameters = {nested!r}: expected an object for each type of layer")
        thetas = {}
        for kind, theta in ((GLOBAL, result.global_rope_theta), (LOCAL, result.local_rope_theta)):
            rotary = read_rotary(scaling or (nested or {}).get(kind), theta, width)
            if rotary.factor != 1:
                raise ValueError(f"rotary positions of {kind} are scaled by {rotary.factor}, which is not supported")
            thetas[kind] = rotary.theta
        return dataclasses.replace(
            result, layer_types=kinds, global_rope_theta=thetas[GLOBAL], local_rope_theta=thetas[LOCAL]
        )

    @property
    def for_transformers(self) -> dict[str, Any]:
        """The bases of the rotary positions as transformers reads them."""
        thetas = {GLOBAL: self.global_rope_theta, LOCAL: self.local_rope_theta}
        return {"rope_parameters": {kind: {"rope_type": "default", "rope_theta": thetas[kind]} for kind in thetas}}

    @property
    def max_tokens(self) -> int:
        """The largest number of tokens that the encoder was made for."""
        return self.max_position_embeddings


class ModernBert(Encoder):
    """ModernBERT as `transformers.ModernBertModel`; attributes as in `Encoder`."""

    config: ModernBertConfig

    @nn.compact
    def __call__(
        self,
        tokens: jax.Array,
        attention_mask: jax.Array | None = None,
        deterministic: bool = True,
        output_hidden_states: bool = False,
    ) -> tuple[Any, ...]:
        """Encodes texts; arguments and results as in `Bert`.

        Pooled is what transformers' classifiers read: by `classifier_pooling` the class token or the masked mean. The
        last of the hidden states is the normed one, as in transformers.
        """
        config = self.config
        x = TokenEmbedding(
            config.vocab_size, config.hidden_size, initializer_range=config.initializer_range, name="embedding"
        )(tokens)
        x = LayerNorm(config.norm_eps, use_bias=False, name="first_norm")(x)
        x = nn.Dropout(config.embedding_dropout)(x, deterministic=deterministic)
        transformer = Transformer(self._layers(), remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, key_mask(attention_mask), deterministic)
        x = LayerNorm(config.norm_eps, use_bias=False, name="final_norm")(x)
        pooled = x[:, 0]
        if config.classifier_pooling == "mean":
            pooled = masked_mean(x, jnp.ones(tokens.shape, bool) if attention_mask is None else attention_mask)
        return (x, pooled, (*hidden_states[:-1], x)) if output_hidden_states else (x, pooled)

    def _layers(self) -> tuple[Layer, ...]:
        config = self.config
        whole = self.layer(
            mlp_width=config.intermediate_size,
            activation=config.hidden_activation,
            norm_epsilon=config.norm_eps,
            attention_dropout=config.attention_dropout,
            attention_output_dropout=config.attention_dropout,
            activation_dropout=config.mlp_dropout,
            qkv_bias=False,
            hidden_bias=False,
            output_bias=False,
            norm_bias=False,
            gated=True,
            rotary=Rotary(config.global_rope_theta),
            kernel_init=nn.initializers.normal(config.initializer_range),
        )
        near = dataclasses.replace(whole, rotary=Rotary(config.local_rope_theta), window=config.local_attention // 2)
        # The embedding has just been normed: the first layer does not norm it again.
        return tuple(
            dataclasses.replace(whole if kind == GLOBAL else near, attention_norm=index > 0)
            for index, kind in enumerate(config.layer_types or ())
        )
