"""The temporal convolutional network of the vision branch: the slow course of the face."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from emi_jax.models.dense import dot
from emi_jax.models.norm import LayerNorm
from emi_jax.models.transformer import gelu


class TCN(nn.Module):
    """Residual blocks of dilated convolutions (Bai et al. 2018, with LayerNorm and GELU for weight norm and ReLU).

    A block is x + f(f(x)), f = convolution, LayerNorm over the channels of each step, GELU, dropout. Masked steps are
    zeroed before each convolution, so they are to their neighbours what the zeros beyond the ends are. One block of
    dilation r and width w sees (w - 1) r steps to each side; the default four see 30.

    Attributes:
        dilations: one residual block for each.
        kernel_size: width of the convolutions.
        causal: a step sees itself and the past, not its neighbours on both sides.
        dropout: rate after each activation.
        dtype: dtype of the operands of the convolutions.
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
            y = x
            for layer in range(2):
                convolution = Convolution(
                    self.kernel_size, dilation, self.causal, self.dtype, name=f"block_{block}_conv_{layer}"
                )
                y = convolution(jnp.where(valid, y, 0))
                y = gelu(LayerNorm(name=f"block_{block}_norm_{layer}")(y))
                y = nn.Dropout(self.dropout, deterministic=deterministic)(y)
            x = x + y
        return jnp.where(valid, x, 0)


class Convolution(nn.Module):
    """A dilated convolution over time as one product over windows, which in bfloat16 is the faster form on the CPU.

    Attributes:
        kernel_size: width w; if even, the window has its larger half in the future.
        dilation: steps between two taps.
        causal: a step sees itself and the past, not its neighbours on both sides.
        dtype: dtype of the operands; sums, bias and result are float32.
    """

    kernel_size: int
    dilation: int
    causal: bool
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps x [B, T, d] to float32 [B, T, d]; beyond the ends x is zero."""
        B, T, d = x.shape
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (self.kernel_size, d, d))
        bias = self.param("bias", nn.initializers.zeros_init(), (d,))
        reach = (self.kernel_size - 1) * self.dilation
        before = reach if self.causal else reach // 2
        padded = jnp.pad(x, ((0, 0), (before, reach - before), (0, 0)))
        taps = [padded[:, first : first + T] for first in range(0, reach + 1, self.dilation)]
        windows = jnp.concatenate(taps, axis=-1).reshape(B * T, self.kernel_size * d)
        y = dot(windows, kernel.reshape(-1, d), jnp.dtype(self.dtype)) + bias[None]
        return y.reshape(B, T, d)
