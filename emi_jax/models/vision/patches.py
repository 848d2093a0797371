"""From pixels to the tokens of a vision transformer."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.models.dense import Dense

Size = int | tuple[int, int]


def height_width(size: Size) -> tuple[int, int]:
    """A config's image or patch size as (height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class PatchEmbedding(nn.Module):
    """Patches, after a class token and registers where the encoder has them.

    Attributes:
        width: of a token, D.
        image_size: of the pixels.
        patch_size: of a patch.
        kernel_init: initializer of all parameters.
        use_bias: whether the projection of a patch has a bias.
        class_token: whether a class token comes first.
        positions: whether patches and class token have learned positions.
        num_registers: learned tokens without a position between the class token and the patches (Darcet et al. 2024).
        dtype: dtype of the operands of the projection.
    """

    width: int
    image_size: Size
    patch_size: Size
    kernel_init: nn.initializers.Initializer
    use_bias: bool = True
    class_token: bool = True
    positions: bool = True
    num_registers: int = 0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        """Maps pixels, float `[B, H, W, 3]`, to float32 `[B, T, D]`, patches in rows from the top left."""
        D = self.width
        (H, W), (h, w) = height_width(self.image_size), height_width(self.patch_size)
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
        x = Dense(D, self.use_bias, self.dtype, self.kernel_init, name="projection")(patches)
        if self.class_token:
            x = jnp.concatenate([self._tokens("class_token", B, 1), x], axis=1)
        if self.positions:
            x = x + self.param("positions", self.kernel_init, (1, x.shape[1], D))
        if self.num_registers:
            x = jnp.concatenate([x[:, :1], self._tokens("registers", B, self.num_registers), x[:, 1:]], axis=1)
        return x

    def _tokens(self, name: str, batch: int, count: int) -> jax.Array:
        tokens = self.param(name, self.kernel_init, (1, count, self.width))
        return jnp.broadcast_to(tokens, (batch, count, self.width))
