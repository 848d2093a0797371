"""Image encoders: ViT (Dosovitskiy et al. 2021) and the vision transformer of CLIP (Radford et al. 2021)."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.kernels.attention import Implementation
from emi_jax.models.config import read_config
from emi_jax.models.dense import Dense
from emi_jax.models.norm import LayerNorm
from emi_jax.models.transformer import ACTIVATIONS, Layer, Transformer

Size = int | tuple[int, int]


def height_width(size: Size) -> tuple[int, int]:
    """A config's image or patch size as (height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


@dataclasses.dataclass(frozen=True)
class ViTConfig:
    """The fields of a Hugging Face `vit` config that the encoder reads, with their defaults there.

    `add_pooling_layer` is ours: Hugging Face has a class for each. Without the pooler the pooled output is the class
    token.
    """

    model_type: ClassVar[str] = "vit"
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


@dataclasses.dataclass(frozen=True)
class CLIPVisionConfig:
    """The fields of a Hugging Face `clip_vision_model` config that the encoder reads, with their defaults there."""

    model_type: ClassVar[str] = "clip_vision_model"
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


class PatchEmbedding(nn.Module):
    """Class token and patches, each with a learned position.

    Attributes:
        config: sizes.
        use_bias: whether the projection of a patch has a bias.
        dtype: dtype of the operands of the projection.
    """

    config: ViTConfig | CLIPVisionConfig
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Maps pixels, float `[B, H, W, 3]`, to float32 `[B, 1 + patches, D]`, patches in rows from the top left."""
        D, init = self.config.hidden_size, nn.initializers.normal(self.config.initializer_range)
        (H, W), (h, w) = height_width(self.config.image_size), height_width(self.config.patch_size)
        B, *shape = pixels.shape
        if tuple(shape) != (H, W, 3):
            raise ValueError(
                f"pixels have the shape {tuple(shape)}, the encoder expects {(H, W, 3)}: resize the frames "
                "or load the encoder with image_size set to theirs"
            )
        rows, columns = H // h, W // w
        # A convolution whose stride is its width is one product over the pixels of each patch.
        patches = pixels[:, : rows * h, : columns * w].reshape(B, rows, h, columns, w, 3)
        patches = patches.transpose(0, 1, 3, 2, 4, 5).reshape(B, rows * columns, h * w * 3)
        patches = Dense(D, self.use_bias, self.dtype, init, name="projection")(patches)
        class_token = self.param("class_token", init, (1, 1, D))
        positions = self.param("positions", init, (1, 1 + rows * columns, D))
        return jnp.concatenate([jnp.broadcast_to(class_token, (B, 1, D)), patches], axis=1) + positions


class ViT(nn.Module):
    """ViT as `transformers.ViTModel`.

    Attributes:
        config: sizes.
        dtype: dtype of the operands of matrix products; parameters and results are float32.
        remat: recompute each layer in the backward pass instead of storing its activations.
        attention_implementation: as in `dot_product_attention`.
    """

    config: ViTConfig
    dtype: DTypeLike = jnp.float32
    remat: bool = False
    attention_implementation: Implementation | None = None

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
        layer = Layer(
            num_heads=config.num_attention_heads,
            mlp_width=config.intermediate_size,
            activation=config.hidden_act,
            norm_epsilon=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            attention_dropout=config.attention_probs_dropout_prob,
            qkv_bias=config.qkv_bias,
            kernel_init=nn.initializers.normal(config.initializer_range),
            dtype=self.dtype,
            attention_implementation=self.attention_implementation,
        )
        x = PatchEmbedding(config, dtype=self.dtype, name="embedding")(pixels)
        x = nn.Dropout(config.hidden_dropout_prob)(x, deterministic=deterministic)
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, deterministic=deterministic)
        x = LayerNorm(config.layer_norm_eps, name="final_norm")(x)
        pooled = x[:, 0]
        if config.add_pooling_layer:
            width = config.pooler_output_size or config.hidden_size
            pooled = ACTIVATIONS[config.pooler_act](layer.dense(width, "pooler")(pooled))
        return (x[:, 1:], pooled, hidden_states) if output_hidden_states else (x[:, 1:], pooled)


class CLIPVision(nn.Module):
    """The vision transformer of CLIP as `transformers.CLIPVisionModel`; attributes as in `ViT`."""

    config: CLIPVisionConfig
    dtype: DTypeLike = jnp.float32
    remat: bool = False
    attention_implementation: Implementation | None = None

    @nn.compact
    def __call__(
        self, pixels: jax.Array, mask: None = None, deterministic: bool = True, output_hidden_states: bool = False
    ) -> tuple[Any, ...]:
        """Encodes images; arguments and results as in `ViT`, pooled is the layer-normed class token.

        The patches are NOT layer-normed: CLIP's last layer norm sees the class token only.
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
        x = PatchEmbedding(config, use_bias=False, dtype=self.dtype, name="embedding")(pixels)
        x = LayerNorm(config.layer_norm_eps, name="first_norm")(x)
        transformer = Transformer((layer,) * config.num_hidden_layers, remat=self.remat, name="transformer")
        x, hidden_states = transformer(x, deterministic=deterministic)
        pooled = LayerNorm(config.layer_norm_eps, name="final_norm")(x[:, 0])
        return (x[:, 1:], pooled, hidden_states) if output_hidden_states else (x[:, 1:], pooled)
