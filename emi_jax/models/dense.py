"""The linear layer of the encoders: operands in the compute dtype, sums and result in float32."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint
from jax.typing import DTypeLike


class Dense(nn.Module):
    """`x @ kernel + bias`.

    The operands are rounded to `dtype`; the sums, the bias and the result stay in float32, so that whatever is
    elementwise between two products (norms, activations, residuals) loses nothing.

    Attributes:
        features: width of the result.
        use_bias: whether a bias is added.
        dtype: dtype of the operands, forward and backward.
        kernel_init: initializer of the kernel `[D_in, features]`, float32.
        bias_init: initializer of the bias `[features]`, float32.
    """

    features: int
    use_bias: bool = True
    dtype: DTypeLike = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()
    bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x `[..., D_in]` to float32 `[..., features]`."""
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        y = dot(x.reshape(-1, x.shape[-1]), kernel, jnp.dtype(self.dtype)).reshape(*x.shape[:-1], self.features)
        if not self.use_bias:
            return y
        bias = self.param("bias", self.bias_init, (self.features,))
        return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def dot(x: jax.Array, kernel: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """The product of x `[N, D_in]` and kernel `[D_in, D_out]`, both float32, taken in `dtype` and summed in float32.

    Its gradients are products in `dtype` too. JAX's own rule would multiply the float32 gradient with the rounded
    operand, at the speed of float32.
    """
    return _product(x.astype(dtype), kernel.astype(dtype), 1, 0)


def _forward(x: jax.Array, kernel: jax.Array, dtype: jnp.dtype) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    x = x.astype(dtype)
    return _product(x, kernel.astype(dtype), 1, 0), (x, kernel)


def _backward(
    dtype: jnp.dtype, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    gradient = gradient.astype(dtype)
    return _product(gradient, kernel.astype(dtype), 1, 1), kernel_gradient(x, gradient)


dot.defvjp(_forward, _backward)


def kernel_gradient(x: jax.Array, gradient: jax.Array) -> jax.Array:
    """The gradient into the kernel of a product: x^T @ gradient, summed in float32.

    Args:
        x: `[N, D_in]`, rounded to the dtype in which the product is taken.
        gradient: into the product's result, `[N, D_out]`, like x.

    Returns:
        float32 `[D_in, D_out]`.
    """
    if x.dtype == jnp.bfloat16:
        return jax.lax.platform_dependent(x, gradient, cpu=_laid_out_product, default=_transposed_product)
    return _transposed_product(x, gradient)


def _product(left: jax.Array, right: jax.Array, left_axis: int, right_axis: int) -> jax.Array:
    """Contracts one axis of each matrix."""
    return jax.lax.dot_general(
        left, right, (((left_axis,), (right_axis,)), ((), ())), preferred_element_type=jnp.float32
    )


def _transposed_product(left: jax.Array, right: jax.Array) -> jax.Array:
    return _product(left, right, 0, 0)


@jax.jit
def _laid_out_product(left: jax.Array, right: jax.Array) -> jax.Array:
    """left^T @ right, with left^T laid out in memory: only so does XLA on the CPU take its fast bfloat16 product."""
    return _product(with_layout_constraint(left.T, Layout((0, 1))), right, 1, 0)
