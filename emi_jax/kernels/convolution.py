"""A wide grouped convolution over time: XLA's convolution, and on the CPU a product of Fourier transforms."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike


def reference(x: jax.Array, kernel: jax.Array, groups: int, dtype: DTypeLike = jnp.float32) -> jax.Array:
    """The plain form of `convolve`."""
    width = kernel.shape[0]
    y = lax.conv_general_dilated(
        x.astype(dtype),
        kernel.astype(dtype),
        window_strides=(1,),
        padding=[(width // 2, _steps_after(width))],
        dimension_numbers=("NTC", "TIO", "NTC"),
        feature_group_count=groups,
        precision=lax.Precision.HIGHEST if jnp.dtype(dtype) == jnp.float32 else None,
    )
    return y.astype(jnp.float32)


def convolve(x: jax.Array, kernel: jax.Array, groups: int, dtype: DTypeLike = jnp.float32) -> jax.Array:
    """A grouped convolution over time with as many steps out as in, centred like Hugging Face's.

    Args:
        x: float32 `[B, T, D]`.
        kernel: float32 `[width, D / groups, D]`.
        groups: number of groups of channels.
        dtype: dtype of the convolution on accelerators; float32 is full float32. On the CPU it is always float32.

    Returns:
        float32 `[B, T, D]`.
    """
    forms = {"cpu": partial(tuned, groups=groups), "default": partial(reference, groups=groups, dtype=dtype)}
    return lax.platform_dependent(x, kernel, **forms)


def tuned(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """The form for the CPU, where XLA's gradient of such a convolution is slow: by the convolution theorem.

    With 128 taps that takes a thirtieth of the multiplications.
    """
    B, T, D = x.shape
    width = kernel.shape[0]
    length = -(-(T + width - 1) // 64) * 64  # long enough that nothing wraps around, and with small factors
    signal = jnp.fft.rfft(x, length, axis=1).reshape(B, -1, groups, D // groups)
    response = jnp.fft.rfft(kernel[::-1], length, axis=0).reshape(-1, D // groups, groups, D // groups)
    product = jnp.einsum("bfgi,figo->bfgo", signal, response, precision=lax.Precision.HIGHEST).reshape(B, -1, D)
    first = _steps_after(width)
    return jnp.fft.irfft(product, length, axis=1)[:, first : first + T]


def _steps_after(width: int) -> int:
    """How many later steps a step sees: PyTorch adds one for an even width, which Hugging Face drops."""
    return width - 1 - width // 2
