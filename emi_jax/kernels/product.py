"""The product of a linear layer, and a form for the CPU with its own gradient."""

from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

BFLOAT16_INSTRUCTIONS = ("amx_bf16", "avx512_bf16")
"""Flags of x86 processors that multiply bfloat16."""


def reference(x: jax.Array, kernel: jax.Array, dtype: DTypeLike) -> jax.Array:
    """The plain form of `product`: Flax's, whose results and gradients are rounded to `dtype`."""
    return jnp.dot(x.astype(dtype), kernel.astype(dtype)).astype(jnp.float32)


@partial(jax.jit, static_argnames="dtype")  # traced once for each shape
def product(x: jax.Array, kernel: jax.Array, dtype: DTypeLike) -> jax.Array:
    """The product of x and a kernel in `dtype`.

    Args:
        x: `[..., D_in]`.
        kernel: `[D_in, D_out]`.
        dtype: to which both operands are rounded, in the gradients too.

    Returns:
        float32 `[..., D_out]`.
    """
    if jnp.dtype(dtype) == jnp.bfloat16 and not multiplies_bfloat16():
        return reference(x, kernel, dtype)
    forms = {"cpu": partial(tuned, dtype=dtype), "default": partial(reference, dtype=dtype)}
    return lax.platform_dependent(x, kernel, **forms)


def tuned(x: jax.Array, kernel: jax.Array, dtype: DTypeLike) -> jax.Array:
    """The form for the CPU, where XLA multiplies bfloat16 fast only under three conditions.

    The result is float32, the left operand is laid out in memory with its contracted axis last, and both operands are
    bfloat16, which the gradient of such a product is not by JAX's rule. Elsewhere it computes in float32. JAX's rule
    also turns about the larger operand of the kernel's gradient.
    """
    rows = x.astype(dtype).reshape(-1, x.shape[-1])
    kernel = kernel + jnp.zeros_like(x, kernel.dtype, shape=kernel.shape)  # varies over devices where x does
    return _of_rows(rows, kernel).reshape(*x.shape[:-1], kernel.shape[-1])


@cache
def multiplies_bfloat16() -> bool:
    """Whether this machine's processor multiplies bfloat16; on others XLA's product in float32 is the faster one."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return any(name in flags for name in BFLOAT16_INSTRUCTIONS)


@jax.custom_vjp
def _of_rows(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return _forward(x, kernel)[0]


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    kernel = kernel.astype(x.dtype)
    return _contract(x, kernel, 1, 0), (x, kernel)


def _backward(saved: tuple[jax.Array, jax.Array], cotangent: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    cotangent = cotangent.astype(x.dtype)
    into_x = _contract(cotangent, kernel, 1, 1).astype(x.dtype)
    return into_x, kernel_gradient(x, cotangent)


_of_rows.defvjp(_forward, _backward)


def kernel_gradient(x: jax.Array, cotangent: jax.Array) -> jax.Array:
    """The gradient into the kernel of a product on the CPU, float32 `[D_in, D_out]`.

    Args:
        x: left operand of the product, `[N, D_in]`.
        cotangent: of its result, `[N, D_out]`, in the dtype of x.
    """
    if x.dtype != jnp.bfloat16:
        return _contract(x, cotangent, 0, 0)
    # XLA lays out the result of a reshape in memory, but not that of a transpose.
    transposed = jnp.swapaxes(x[None], 1, 2).reshape(x.shape[::-1])
    return _contract(transposed, cotangent, 1, 0)


def _contract(left: jax.Array, right: jax.Array, left_axis: int, right_axis: int) -> jax.Array:
    axes = (((left_axis,), (right_axis,)), ((), ()))
    return lax.dot_general(left, right, axes, preferred_element_type=jnp.float32)
