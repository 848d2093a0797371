"""The temporal convolutional network of the vision branch, for the slow dynamics of the face."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from emi_jax.kernels.gelu import gelu
from emi_jax.models.norm import LayerNorm


class TCN(nn.Module):
    """Residual blocks of dilated convolutions (Bai et al. 2018, but LayerNorm and GELU, not weight norm and ReLU).

    A block is x + f(f(x)), f = convolution, LayerNorm over the channels of each step, GELU, dropout. Masked steps are
    set to zero before each convolution, like the padding beyond both ends. One block of dilation r and width w sees
    (w - 1) r steps to each side; the default four blocks see 30.

    Attributes:
        dilations: of the residual blocks, one each.
        kernel_size: width w of the convolutions; if even, the window has its larger half in the future.
        causal: a step sees itself and the past, not its neighbours on both sides.
        dropout: dropout rate after each activation.
        dtype: dtype of the convolutions; norms and residuals are float32.
    """

    dilations: tuple[int, ...] = (1, 2, 4, 8)
    kernel_size: int = 3
    causal: bool = False
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array, deterministic: bool = True) -> Array:
        """Maps x [B, T, d] with mask bool [B, T] to float32 [B, T, d], 0 on masked steps."""
        valid = mask[..., None]
        for block, dilation in enumerate(self.dilations):
            reach = (self.kernel_size - 1) * dilation
            before = reach if self.causal else reach // 2
            y = x
            for layer in range(2):
                convolution = nn.Conv(
                    x.shape[-1],
                    (self.kernel_size,),
                    padding=[(before, reach - before)],
                    kernel_dilation=(dilation,),
                    dtype=self.dtype,
                    name=f"block_{block}_conv_{layer}",
                )
                y = convolution(jnp.where(valid, y, 0)).astype(jnp.float32)
                y = gelu(LayerNorm(name=f"block_{block}_norm_{layer}")(y))
                y = nn.Dropout(self.dropout, deterministic=deterministic)(y)
            x = x + y
        return jnp.where(valid, x, 0)
