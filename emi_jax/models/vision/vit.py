"""The vision transformer ViT (Dosovitskiy et al. 2021)."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax

from emi_jax.models.config import read_config
from emi_jax.models.encoder import Encoder
from emi_jax.models.norm import LayerNorm
from emi_jax.models.transformer import ACTIVATIONS, Transformer
from emi_jax.models.vision.patches import PatchEmbedding, Size


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """The fields of a Hugging Face `vit` config that the encoder reads, with their defaults there.

    `add_pooling_layer` is ours: Hugging Face has a class for each. Without the pooler the pooled output is the class
    token.
    """

    model_type: ClassVar[str] = "vit"
    antialias: ClassVar[bool] = False
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-12
    image_size: Size = 224
    patch_size: Size = 16
    num_channels: int = 3
    qkv_bias: bool = True
    pooler_output_size: int | None = None
    pooler_act: str = "tanh"
    add_pooling_layer: bool = True

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "ViTConfig":
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        return read_config(cls, config, {"hidden_act": ACTIVATIONS, "pooler_act": ACTIVATIONS, "num_channels": (3,)})


class ViT(Encoder):
    """ViT as `transformers.ViTModel`.

    Attributes as in `Encoder`.
    """

    config: ViTConfig

    @nn.compact
    def __call__(
        self, pixels: jax.Array, mask: None = None, deterministic: bool = True, output_hidden_states: bool = False
    ) -> tuple[Any, ...]:
        """Encodes images.

        Args:
            pixels: float `[B, H, W, 3]`, RGB, already normalised.
            mask: None; images have no padding.
            deterministic: False needs the rng stream "dropout".
            output_hidden_states: whether to return the hidden states as well.

        Returns:
            The patches, float32 `[B, patches, D]`; the pooled image `[B, D]`: the pooler's output, or the class token
            where there is no pooler; if requested, the hidden states after the embedding and after each layer, class
            token first.
        """
        config = self.config
        layer = self.layer(
            mlp_width=config.intermediate_size,
            activation=config.hidden_act,
            norm_epsilon=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
            qkv_bias=config.qkv_bias,
            kernel_init=nn.initializers.normal(config.initializer_range),
        )
        x = PatchEmbedding(
            config.hidden_size,
            config.image_size,
            config.patch_size,
            layer.kernel_init,
            dtype=self.dtype,
            name="embedding",
        )(pixels)
        x = nn.Dropout(config.hidden_dropout_prob)(x, deterministic=deterministic)
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, deterministic=deterministic)
        x = LayerNorm(config.layer_norm_eps, name="final_norm")(x)
        pooled = x[:, 0]
        if config.add_pooling_layer:
            width = config.pooler_output_size or config.hidden_size
            pooled = ACTIVATIONS[config.pooler_act](layer.dense(width, "pooler")(pooled))
        return (x[:, 1:], pooled, hidden_states) if output_hidden_states else (x[:, 1:], pooled)
