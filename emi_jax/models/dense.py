"""The linear layer of all models: products in the compute dtype, everything between them in float32."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.kernels.product import product

torch_uniform = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""How kernels of `torch.nn.Linear` start: uniform within 1 / sqrt(D_in)."""


class Dense(nn.Module):
    """`x @ kernel + bias`.

    The product and its gradients are taken and rounded in `dtype`, as in `flax.linen.Dense`. The bias is added and the
    result kept in float32, so that norms, activations and residuals lose nothing more.

    Attributes:
        features: width of the result.
        use_bias: whether a bias is added.
        dtype: dtype of the product.
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
        y = product(x, kernel, self.dtype)
        if not self.use_bias:
            return y
        bias = self.param("bias", self.bias_init, (self.features,))
        return y + bias.reshape((1,) * (y.ndim - 1) + (-1,))
