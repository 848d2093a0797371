"""A stack of one-way LSTMs that reads a sequence to its last valid step."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from emi_jax.kernels.lstm import recurrence
from emi_jax.kernels.product import product


class LSTM(nn.Module):
    """`torch.nn.LSTM` without dropout; each layer reads the states of the one below.

    Kernels start uniform within 1 / sqrt(hidden), as PyTorch's do, and biases at 0.

    Attributes:
        hidden: units of each layer.
        num_layers: depth.
        dtype: dtype of the operands of matrix products.
    """

    hidden: int
    num_layers: int = 1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """Maps x [B, T, D] with mask bool [B, T] to the last layer's state after the last valid step.

        Masked steps leave the state as it is.

        Returns:
            float32 [B, hidden]; 0 for a sequence without a valid step.
        """
        states, valid = jnp.swapaxes(jnp.where(mask[..., None], x, 0), 0, 1), mask.T[:, None]
        for layer in range(self.num_layers):
            name = f"layers_{layer}"
            kernel = self.param(f"{name}_input_kernel", self._uniform, (states.shape[-1], 4 * self.hidden))
            recurrent_kernel = self.param(f"{name}_recurrent_kernel", self._uniform, (self.hidden, 4 * self.hidden))
            bias = self.param(f"{name}_bias", nn.initializers.zeros_init(), (4 * self.hidden,))
            projected = product(states, kernel, self.dtype) + bias[None, None, :]
            (states,) = recurrence((projected,), recurrent_kernel[None], valid, self.dtype)
        return states[-1]

    def _uniform(self, key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        bound = self.hidden**-0.5
        return jax.random.uniform(key, shape, dtype, -bound, bound)
