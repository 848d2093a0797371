"""The gated bidirectional LSTM of the audio branch: local dynamics of the voice."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from emi_jax.models.dense import Dense, dot, kernel_gradient

# Of the gates i, f, g, o: sigmoid(x) = 1/2 + tanh(x/2)/2, so that one tanh evaluates all four.
_HALVES = (0.5, 0.5, 1.0, 0.5)


class GatedBiLSTM(nn.Module):
    """A bidirectional LSTM whose output is mixed with its input by a gate.

    With h_t = [forward; backward]: g_t = sigmoid(W_g [x_t; h_t] + b_g), y_t = g_t * (W_h h_t + b_h) + (1 - g_t) * x_t
    (ours: the paper names a gate and gives no formula).

    Attributes:
        hidden: units in each direction.
        gate: False gives y_t = W_h h_t + b_h.
        dropout: rate on h_t.
        dtype: dtype of the operands of matrix products.
    """

    hidden: int
    gate: bool = True
    dropout: float = 0.0
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x: Array, mask: Array, deterministic: bool = True) -> Array:
        """Maps x [B, T, d] with mask bool [B, T] to float32 [B, T, d], 0 on masked steps."""
        width = x.shape[-1]
        lecun = nn.initializers.lecun_normal(batch_axis=0)
        h = bidirectional_lstm(
            x,
            mask,
            self.param("input_kernel", lecun, (2, width, 4 * self.hidden)),
            self.param("recurrent_kernel", _orthogonal_gates, (2, self.hidden, 4 * self.hidden)),
            self.param("bias", _remembering, (2, 4 * self.hidden)),
            self.dtype,
        )
        h = nn.Dropout(self.dropout, deterministic=deterministic)(h)
        y = Dense(width, dtype=self.dtype, name="output")(h)
        if self.gate:
            g = jax.nn.sigmoid(Dense(width, dtype=self.dtype, name="gate")(jnp.concatenate([x, h], axis=-1)))
            y = g * y + (1 - g) * x
        return jnp.where(mask[..., None], y, 0)


def bidirectional_lstm(
    x: Array, mask: Array, input_kernel: Array, recurrent_kernel: Array, bias: Array, dtype: DTypeLike = jnp.float32
) -> Array:
    """Runs an LSTM (Hochreiter and Schmidhuber 1997, with forget gates) over x in both directions.

    Gates are stacked in PyTorch's order i, f, g, o: with z = x_t W + h_{t-1} U + b,
    c_t = sigmoid(z_f) c_{t-1} + sigmoid(z_i) tanh(z_g) and h_t = sigmoid(z_o) tanh(c_t). A masked step leaves the state
    as it is, so padding at the end lets the backward direction start at the clip's last valid step.

    The input projection is one product for each direction, outside the scan; the scan carries both directions, in
    float32, and its backward pass takes the recurrent weights' gradient out of the loop.

    Args:
        x: [B, T, D].
        mask: bool [B, T].
        input_kernel: W of the forward and the backward direction, [2, D, 4H].
        recurrent_kernel: U, [2, H, 4H].
        bias: b, [2, 4H].
        dtype: dtype of the operands of matrix products.

    Returns:
        [forward; backward], float32 [B, T, 2H], 0 on masked steps.
    """
    hidden = recurrent_kernel.shape[1]
    # Made from x, so that under shard_map the weights below vary over the devices as x does: `custom_vjp` asks for it.
    halves = jnp.zeros_like(x, jnp.float32, shape=(4 * hidden,)) + jnp.repeat(jnp.array(_HALVES), hidden)
    input_kernel, recurrent_kernel = (w * halves[None, None, :] for w in (input_kernel, recurrent_kernel))
    bias = bias * halves[None, :]

    x, mask = jnp.swapaxes(x, 0, 1), jnp.swapaxes(mask, 0, 1)
    T, B, D = x.shape
    forward, backward = (
        (dot(inputs.reshape(T * B, D), input_kernel[n], jnp.dtype(dtype)) + bias[n][None, :]).reshape(T, B, 4 * hidden)
        for n, inputs in enumerate((x, x[::-1]))
    )
    forward, backward = _recurrence(dtype, forward, backward, recurrent_kernel, jnp.stack([mask, mask[::-1]], axis=1))
    h = jnp.concatenate([forward, backward[::-1]], axis=-1)
    return jnp.swapaxes(jnp.where(mask[..., None], h, 0), 0, 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(dtype: DTypeLike, forward: Array, backward: Array, kernel: Array, mask: Array) -> tuple[Array, Array]:
    """The states h of both directions, each [T, B, H] in its own direction of time.

    Args:
        dtype: dtype of the operands of matrix products.
        forward: gate inputs x W + b, [T, B, 4H]; like the kernel with the sigmoid gates' columns halved.
        backward: the same for the backward direction, last step first.
        kernel: U, [2, H, 4H].
        mask: bool [T, 2, B].
    """
    return _recurrence_forward(dtype, forward, backward, kernel, mask)[0]


def _recurrence_forward(
    dtype: DTypeLike, forward: Array, backward: Array, kernel: Array, mask: Array
) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
    weights = kernel.astype(dtype)

    def step(carry: tuple[Array, Array], inputs: Any) -> tuple[Any, Any]:
        h, c = carry
        *from_x, valid = inputs
        activations = jnp.tanh(jnp.stack(from_x) + _dot(h, weights))
        i, f, g, o = _gates(activations)
        new_c = f * c + i * g
        h = jnp.where(valid[..., None], o * jnp.tanh(new_c), h)
        c = jnp.where(valid[..., None], new_c, c)
        return (h, c), (h, c, activations)

    _, states = lax.scan(step, (_start(forward, kernel),) * 2, (forward, backward, mask))
    h, c, activations = states
    return (h[:, 0], h[:, 1]), (h, c, activations, kernel, mask)


def _recurrence_backward(
    dtype: DTypeLike, saved: tuple[Array, ...], cotangents: tuple[Array, Array]
) -> tuple[Any, ...]:
    h, c, activations, kernel, mask = saved
    start = _start(activations, kernel)
    previous_h, previous_c = (jnp.concatenate([start[None], x[:-1]]) for x in (h, c))

    # Whatever does not depend on the step after is computed for all steps at once. d_gates = [dc, dc, dc, dh] * slopes;
    # the slopes hold d tanh(z) of the halved inputs, twice the derivative of the sigmoid.
    i, f, g, o = _gates(activations)
    tanh_c = jnp.tanh(c)
    valid = mask[..., None]
    each = (2 * g * i * (1 - i), 2 * previous_c * f * (1 - f), i * (1 - g * g), 2 * tanh_c * o * (1 - o))
    slopes = jnp.where(valid, jnp.concatenate(each, axis=-1), 0)
    c_from_h = jnp.where(valid, o * (1 - tanh_c * tanh_c), 0)
    kept = jnp.where(valid, f, 1)
    weights = jnp.swapaxes(kernel, 1, 2).astype(dtype)

    def step(carry: tuple[Array, Array], inputs: Any) -> tuple[Any, Any]:
        dh, dc = carry
        *from_above, slopes, c_from_h, kept, valid = inputs
        dh = dh + jnp.stack(from_above)
        dc = dc + dh * c_from_h
        d_gates = jnp.concatenate([dc, dc, dc, dh], axis=-1) * slopes
        through = _dot(d_gates, weights)
        return (through + jnp.where(valid, 0, dh), dc * kept), (d_gates[0], d_gates[1])

    _, d_gates = lax.scan(step, (start,) * 2, (*cotangents, slopes, c_from_h, kept, valid), reverse=True)
    d_kernel = [kernel_gradient(_rows(previous_h[:, n], dtype), _rows(d_gates[n], dtype)) for n in range(2)]
    return *d_gates, jnp.stack(d_kernel), None


_recurrence.defvjp(_recurrence_forward, _recurrence_backward)


def _gates(activations: Array) -> tuple[Array, ...]:
    i, f, g, o = jnp.split(activations, 4, axis=-1)
    return 0.5 + 0.5 * i, 0.5 + 0.5 * f, g, 0.5 + 0.5 * o


def _start(like: Array, kernel: Array) -> Array:
    """Zero state, [2, B, H]."""
    return jnp.zeros_like(like, jnp.float32, shape=(2, like.shape[-2], kernel.shape[1]))


def _rows(x: Array, dtype: DTypeLike) -> Array:
    """[T, B, D] to [T * B, D], rounded."""
    return x.astype(dtype).reshape(-1, x.shape[-1])


def _dot(x: Array, weights: Array) -> Array:
    """Multiplies x [2, B, D] with the weights [2, D, E] of its direction, in their dtype."""
    return lax.dot_general(
        x.astype(weights.dtype), weights, (((2,), (1,)), ((0,), (0,))), preferred_element_type=jnp.float32
    )


def _orthogonal_gates(key: Array, shape: tuple[int, int, int], dtype: Any = jnp.float32) -> Array:
    """An orthogonal matrix for each direction and gate (Saxe et al. 2014)."""
    directions, hidden, columns = shape
    keys = jax.random.split(key, (directions, columns // hidden))
    make = jax.vmap(jax.vmap(lambda key: nn.initializers.orthogonal()(key, (hidden, hidden), dtype)))
    return jnp.moveaxis(make(keys), 1, 2).reshape(shape)


def _remembering(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
    """Zero, but 1 for the forget gate, so that gradients flow from the start (Jozefowicz et al. 2015)."""
    del key
    directions, columns = shape
    return jnp.broadcast_to(jnp.repeat(jnp.array([0, 1, 0, 0], dtype), columns // 4)[None, :], (directions, columns))
