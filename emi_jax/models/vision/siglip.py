"""The vision transformer of SigLIP (Zhai et al. 2023) and of SigLIP 2 for fixed resolutions (Tschannen et al. 2025)."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from emi_jax.models.config import read_config
from emi_jax.models.encoder import Encoder
from emi_jax.models.norm import LayerNorm
from emi_jax.models.transformer import ACTIVATIONS, MLP, Attention, Layer, Transformer
from emi_jax.models.vision.patches import PatchEmbedding, Size


@dataclasses.dataclass(frozen=True)
class SiglipVisionConfig:
    """The fields of a Hugging Face `siglip_vision_model` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "siglip_vision_model"
    antialias: ClassVar[bool] = False
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu_pytorch_tanh"
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-6
    image_size: Size = 224
    patch_size: Size = 16
    num_channels: int = 3
    vision_use_head: bool = True

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "SiglipVisionConfig":
        """Reads the dict of a config.json; raises ValueError for an unsupported value."""
        return read_config(cls, config, {"hidden_act": ACTIVATIONS, "num_channels": (3,)})


class AttentionPooling(nn.Module):
    """A learned query reads the patches, then an MLP with a residual (Zhai et al. 2022, "MAP head").

    Attributes:
        layer: the hyperparameters of the attention and the MLP.
    """

    layer: Layer

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool = True) -> jax.Array:
        """Maps the patches, float `[B, T, D]`, to float32 `[B, D]`."""
        B, _, D = x.shape
        probe = self.param("probe", nn.initializers.xavier_uniform(), (1, 1, D))
        probe = jnp.broadcast_to(probe, (B, 1, D))
        pooled = Attention(self.layer, name="attention")(probe, deterministic=deterministic, memory=x)
        pooled = pooled + MLP(self.layer, name="mlp")(self.layer.norm("norm")(pooled), deterministic)
        return pooled[:, 0]


class SiglipVision(Encoder):
    """The vision transformer of SigLIP as `transformers.SiglipVisionModel`; attributes as in `Encoder`."""

    config: SiglipVisionConfig

    @nn.compact
    def __call__(
        self, pixels: jax.Array, mask: None = None, deterministic: bool = True, output_hidden_states: bool = False
    ) -> tuple[Any, ...]:
        """Encodes images; arguments and results as in `ViT`, without a class token.

        Pooled is the result of the attention pooling, or the mean of the patches where there is none.
        """
        config = self.config
        layer = self.layer(
            mlp_width=config.intermediate_size,
            activation=config.hidden_act,
            norm_epsilon=config.layer_norm_eps,
            attention_dropout=config.attention_dropout,
            kernel_init=nn.initializers.xavier_uniform(),
        )
        x = PatchEmbedding(
            config.hidden_size,
            config.image_size,
            config.patch_size,
            nn.initializers.normal(config.hidden_size**-0.5),
            class_token=False,
            dtype=self.dtype,
            name="embedding",
        )(pixels)
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, deterministic=deterministic)
        x = LayerNorm(config.layer_norm_eps, name="final_norm")(x)
        if config.vision_use_head:
            pooling = dataclasses.replace(layer, attention_dropout=0.0, attention_implementation="xla")
            pooled = AttentionPooling(pooling, name="pooling")(x, deterministic)
        else:
            pooled = x.mean(axis=1)
        return (x, pooled, hidden_states) if output_hidden_states else (x, pooled)
