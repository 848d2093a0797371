"""The gated bidirectional LSTM of the audio branch, for the local dynamics of the voice.

The gate here mixes the output of the LSTM with its input. The gates inside the LSTM are in `emi_jax/kernels/lstm.py`.
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from emi_jax.kernels import cudnn_lstm
from emi_jax.kernels.lstm import recurrence
from emi_jax.kernels.product import product
from emi_jax.models.dense import Dense

Implementation = Literal["xla", "cudnn"]


class GatedBiLSTM(nn.Module):
    """A bidirectional LSTM whose output is mixed with its input by a gate.

    With h_t = [forward; backward]: g_t = sigmoid(W_g [x_t; h_t] + b_g), y_t = g_t * (W_h h_t + b_h) + (1 - g_t) * x_t
    (ours: the paper names a gate and gives no formula).

    Attributes:
        hidden: units in each direction.
        gate: False gives y_t = W_h h_t + b_h.
        dropout: dropout rate of h_t.
        dtype: dtype of the operands of matrix products.
        implementation: "xla" for a scan over the steps, "cudnn" for cuDNN's LSTM in float32, on NVIDIA GPUs.
    """

    hidden: int
    gate: bool = True
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32
    implementation: Implementation = "xla"

    @nn.compact
    def __call__(self, x: Array, mask: Array, deterministic: bool = True) -> Array:
        """Maps x [B, T, d] with mask bool [B, T] to float32 [B, T, d], 0 on masked steps."""
        width = x.shape[-1]
        lecun = nn.initializers.lecun_normal(batch_axis=0)
        weights = (
            self.param("input_kernel", lecun, (2, width, 4 * self.hidden)),
            self.param("recurrent_kernel", _orthogonal_gates, (2, self.hidden, 4 * self.hidden)),
            self.param("bias", _forget_bias_one, (2, 4 * self.hidden)),
        )
        if self.implementation == "cudnn":
            h = cudnn_lstm.bidirectional(x, mask, *weights)
        else:
            h = bidirectional_lstm(x, mask, *weights, self.dtype)
        h = nn.Dropout(self.dropout, deterministic=deterministic)(h)
        y = Dense(width, dtype=self.dtype, name="output")(h)
        if self.gate:
            g = jax.nn.sigmoid(Dense(width, dtype=self.dtype, name="gate")(jnp.concatenate([x, h], axis=-1)))
            y = g * y + (1 - g) * x
        return jnp.where(mask[..., None], y, 0)


def bidirectional_lstm(
    x: Array, mask: Array, input_kernel: Array, recurrent_kernel: Array, bias: Array, dtype: DTypeLike = jnp.float32
) -> Array:
    """Runs an LSTM over x in both directions: the input projections outside the scan, then the recurrence.

    A masked step leaves the state as it is, so the backward direction starts at each clip's last valid step.

    Args:
        x: [B, T, D].
        mask: bool [B, T].
        input_kernel: W of the forward and the backward direction, [2, D, 4H], gates in PyTorch's order i, f, g, o.
        recurrent_kernel: U, [2, H, 4H].
        bias: b, [2, 4H].
        dtype: dtype of the operands of matrix products.

    Returns:
        [forward; backward], float32 [B, T, 2H], 0 on masked steps.
    """
    x, mask = jnp.swapaxes(x, 0, 1), jnp.swapaxes(mask, 0, 1)
    forward, backward = (
        product(inputs, input_kernel[n], dtype) + bias[n][None, None, :] for n, inputs in enumerate((x, x[::-1]))
    )
    masks = jnp.stack([mask, mask[::-1]], axis=1)
    forward, backward = recurrence((forward, backward), recurrent_kernel, masks, dtype)
    h = jnp.concatenate([forward, backward[::-1]], axis=-1)
    return jnp.swapaxes(jnp.where(mask[..., None], h, 0), 0, 1)


def _orthogonal_gates(key: Array, shape: tuple[int, int, int], dtype: Any = jnp.float32) -> Array:
    """An orthogonal matrix for each direction and gate (Saxe et al. 2014)."""
    directions, hidden, columns = shape
    keys = jax.random.split(key, (directions, columns // hidden))
    make = jax.vmap(jax.vmap(lambda key: nn.initializers.orthogonal()(key, (hidden, hidden), dtype)))
    return jnp.moveaxis(make(keys), 1, 2).reshape(shape)


def _forget_bias_one(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
    """1 for the forget gate, so that gradients flow from the start (Jozefowicz et al. 2015), and 0 for the others."""
    del key
    directions, columns = shape
    return jnp.broadcast_to(jnp.repeat(jnp.array([0, 1, 0, 0], dtype), columns // 4)[None, :], (directions, columns))
