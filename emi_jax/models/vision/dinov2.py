"""DINOv2 (Oquab et al. 2024), without and with registers (Darcet et al. 2024)."""

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
class DINOv2Config:
    """The fields of a Hugging Face `dinov2` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "dinov2"
    antialias: ClassVar[bool] = False
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    mlp_ratio: int = 4
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    drop_path_rate: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-6
    image_size: Size = 224
    patch_size: Size = 14
    num_channels: int = 3
    qkv_bias: bool = True
    layerscale_value: float = 1.0
    use_swiglu_ffn: bool = False

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "DINOv2Config":
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        return read_config(cls, config, {"hidden_act": ACTIVATIONS, "num_channels": (3,)})

    @property
    def mlp_width(self) -> int:
        """Width of the hidden layer of the MLP: with SwiGLU two thirds, rounded up to a multiple of 8."""
        width = self.hidden_size * self.mlp_ratio
        return (width * 2 // 3 + 7) // 8 * 8 if self.use_swiglu_ffn else width


@dataclasses.dataclass(frozen=True)
class DINOv2WithRegistersConfig(DINOv2Config):
    """The fields of a Hugging Face `dinov2_with_registers` config that the encoder reads."""

    model_type: ClassVar[str] = "dinov2_with_registers"
    antialias: ClassVar[bool] = True
    patch_size: Size = 16
    num_register_tokens: int = 4


class DINOv2(Encoder):
    """DINOv2 as `transformers.Dinov2Model` and `Dinov2WithRegistersModel`; attributes as in `Encoder`."""

    config: DINOv2Config

    @nn.compact
    def __call__(
        self, pixels: jax.Array, mask: None = None, deterministic: bool = True, output_hidden_states: bool = False
    ) -> tuple[Any, ...]:
        """Encodes images; arguments and results as in `ViT`, pooled is the layer-normed class token.

        Registers follow the class token in the hidden states and are no part of the sequence.
        """
        config = self.config
        layer = self.layer(
            mlp_width=config.mlp_width,
            gated=config.use_swiglu_ffn,
            activation="silu" if config.use_swiglu_ffn else config.hidden_act,
            norm_epsilon=config.layer_norm_eps,
            layer_scale=config.layerscale_value,
            drop_path=config.drop_path_rate,
            attention_dropout=config.attention_probs_dropout_prob,
            qkv_bias=config.qkv_bias,
            kernel_init=nn.initializers.normal(config.initializer_range),
        )
        registers = config.num_register_tokens if isinstance(config, DINOv2WithRegistersConfig) else 0
        x = PatchEmbedding(
            config.hidden_size,
            config.image_size,
            config.patch_size,
            layer.kernel_init,
            num_registers=registers,
            dtype=self.dtype,
            name="embedding",
        )(pixels)
        x = nn.Dropout(config.hidden_dropout_prob)(x, deterministic=deterministic)
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, deterministic=deterministic)
        x = LayerNorm(config.layer_norm_eps, name="final_norm")(x)
        sequence, pooled = x[:, 1 + registers :], x[:, 0]
        return (sequence, pooled, hidden_states) if output_hidden_states else (sequence, pooled)
