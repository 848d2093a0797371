"""The vision transformer of DINOv3 (Siméoni et al. 2025): rotary positions of the patches in place of a table."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax

from emi_jax.models.config import read_config
from emi_jax.models.encoder import Encoder
from emi_jax.models.norm import LayerNorm
from emi_jax.models.rotary import GridRotary
from emi_jax.models.transformer import ACTIVATIONS, Transformer
from emi_jax.models.vision.patches import PatchEmbedding, Size, height_width


@dataclasses.dataclass(frozen=True)
class DINOv3Config:
    """The fields of a Hugging Face `dinov3_vit` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "dinov3_vit"
    hidden_size: int = 384
    num_hidden_layers: int = 12
    num_attention_heads: int = 6
    intermediate_size: int = 1536
    hidden_act: str = "gelu"
    attention_dropout: float = 0.0
    drop_path_rate: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    rope_theta: float = 100.0
    image_size: Size = 224
    patch_size: Size = 16
    num_channels: int = 3
    key_bias: bool = False
    layerscale_value: float = 1.0
    use_gated_mlp: bool = False
    num_register_tokens: int = 0

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "DINOv3Config":
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        biases = dict.fromkeys(("query_bias", "value_bias", "proj_bias", "mlp_bias"), (True,))
        return read_config(cls, config, {"hidden_act": ACTIVATIONS, "num_channels": (3,), **biases})


class DINOv3(Encoder):
    """DINOv3 as `transformers.DINOv3ViTModel`; attributes as in `Encoder`.

    Hugging Face's class also rescales the coordinates of patches at random in training; this one does not.
    """

    config: DINOv3Config

    @nn.compact
    def __call__(
        self, pixels: jax.Array, mask: None = None, deterministic: bool = True, output_hidden_states: bool = False
    ) -> tuple[Any, ...]:
        """Encodes images; arguments and results as in `ViT`, pooled is the layer-normed class token.

        Registers follow the class token in the hidden states and are no part of the sequence.
        """
        config = self.config
        (H, W), (h, w) = height_width(config.image_size), height_width(config.patch_size)
        layer = self.layer(
            mlp_width=config.intermediate_size,
            gated=config.use_gated_mlp,
            activation=config.hidden_act,
            norm_epsilon=config.layer_norm_eps,
            layer_scale=config.layerscale_value,
            drop_path=config.drop_path_rate,
            attention_dropout=config.attention_dropout,
            key_bias=config.key_bias,
            rotary=GridRotary(config.rope_theta, H // h, W // w),
            kernel_init=nn.initializers.normal(config.initializer_range),
        )
        x = PatchEmbedding(
            config.hidden_size,
            config.image_size,
            config.patch_size,
            layer.kernel_init,
            num_registers=config.num_register_tokens,
            positions=False,
            dtype=self.dtype,
            name="embedding",
        )(pixels)
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, deterministic=deterministic)
        x = LayerNorm(config.layer_norm_eps, name="final_norm")(x)
        sequence, pooled = x[:, 1 + config.num_register_tokens :], x[:, 0]
        return (sequence, pooled, hidden_states) if output_hidden_states else (sequence, pooled)
