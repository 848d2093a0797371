"""The vision transformer of CLIP (Radford et al. 2021)."""

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
class CLIPVisionConfig:
    """The fields of a Hugging Face `clip_vision_model` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "clip_vision_model"
    antialias: ClassVar[bool] = False
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "quick_gelu"
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    layer_norm_eps: float = 1e-5
    image_size: Size = 224
    patch_size: Size = 32
    num_channels: int = 3

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "CLIPVisionConfig":
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        return read_config(cls, config, {"hidden_act": ACTIVATIONS, "num_channels": (3,)})


class CLIPVision(Encoder):
    """The vision transformer of CLIP as `transformers.CLIPVisionModel`; attributes as in `Encoder`."""

    config: CLIPVisionConfig

    @nn.compact
    def __call__(
        self, pixels: jax.Array, mask: None = None, deterministic: bool = True, output_hidden_states: bool = False
    ) -> tuple[Any, ...]:
        """Encodes images; arguments and results as in `ViT`, pooled is the layer-normed class token.

        The patches are NOT layer-normed: CLIP's last layer norm sees the class token only.
        """
        config = self.config
        layer = self.layer(
            mlp_width=config.intermediate_size,
            activation=config.hidden_act,
            norm_epsilon=config.layer_norm_eps,
            attention_dropout=config.attention_dropout,
            kernel_init=nn.initializers.normal(config.initializer_range),
        )
        x = PatchEmbedding(
            config.hidden_size,
            config.image_size,
            config.patch_size,
            layer.kernel_init,
            use_bias=False,
            dtype=self.dtype,
            name="embedding",
        )(pixels)
        x = LayerNorm(config.layer_norm_eps, name="first_norm")(x)
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, deterministic=deterministic)
        pooled = LayerNorm(config.layer_norm_eps, name="final_norm")(x[:, 0])
        return (x[:, 1:], pooled, hidden_states) if output_hidden_states else (x[:, 1:], pooled)
