"""The bidirectional LSTM of cuDNN, which NVIDIA GPUs run in one kernel in place of a scan over the steps."""

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

MODULE = "jax.experimental.rnn"
"""JAX's binding, which can be traced on NVIDIA GPUs alone."""


def unavailable(devices: Sequence[jax.Device]) -> str:
    """Why these devices cannot run it, as a sentence without a full stop; empty if they can."""
    if other := [device for device in devices if "cuda" not in device.client.platform_version]:
        return f"cuDNN's LSTM runs on NVIDIA GPUs alone, and the device is {other[0].device_kind}"
    if importlib.util.find_spec(MODULE) is None:
        return f"JAX {jax.__version__} has no {MODULE}, which binds cuDNN's LSTM"
    return ""


def bidirectional(
    x: jax.Array, mask: jax.Array, input_kernel: jax.Array, recurrent_kernel: jax.Array, bias: jax.Array
) -> jax.Array:
    """As `emi_jax.models.bilstm.bidirectional_lstm` in float32; products are in TF32 unless JAX is set otherwise.

    Args:
        x: `[B, T, D]`.
        mask: bool `[B, T]`. A masked step leaves the state as it is.
        input_kernel: `[2, D, 4H]`.
        recurrent_kernel: `[2, H, 4H]`.
        bias: `[2, 4H]`.

    Returns:
        [forward; backward], float32 `[B, T, 2H]`, 0 on masked steps.
    """
    # cuDNN takes lengths: the valid steps are moved to the front, in order, and their results back.
    order = jnp.argsort(~mask, axis=1, stable=True)
    lengths = jnp.maximum(mask.sum(axis=1, dtype=jnp.int32), 1)
    valid = jnp.where(mask[..., None], x, 0).astype(jnp.float32)
    in_front = jnp.take_along_axis(valid, order[..., None], axis=1)
    h = _lstm(recurrent_kernel.shape[1])(in_front, pack(input_kernel, recurrent_kernel, bias), lengths)
    h = jnp.take_along_axis(h, jnp.argsort(order, axis=1)[..., None], axis=1)
    return jnp.where(mask[..., None], h, 0)


def pack(input_kernel: jax.Array, recurrent_kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """All weights as one vector in cuDNN's layout: the kernels of each direction, then its two biases, one being 0."""
    kernels = [kernel[n].T.ravel() for n in range(2) for kernel in (input_kernel, recurrent_kernel)]
    biases = [part for n in range(2) for part in (bias[n], jnp.zeros_like(bias[n]))]
    return jnp.concatenate([*kernels, *biases])


def _lstm(hidden: int) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """The call of JAX's binding, which has no rule for `jax.vmap`: vectorised, it runs once for each example.

    Returns:
        (x `[B, T, D]`, weights, lengths int32 `[B]`) -> `[B, T, 2 hidden]`.
    """
    from jax.experimental import rnn  # not every version of JAX has it

    def sizes(x: jax.Array) -> tuple[int, int, int, float, bool, None]:
        layers, dropout, both_directions, precision = 1, 0.0, True, None
        return x.shape[-1], hidden, layers, dropout, both_directions, precision

    @sequential_vmap
    def forward(x: jax.Array, weights: jax.Array, lengths: jax.Array) -> tuple[jax.Array, Any]:
        start = jnp.zeros((2, x.shape[0], hidden), x.dtype)
        (h, _, _), saved = rnn.lstm_fwd(x, start, start, weights, lengths, *sizes(x))
        return h, saved

    @sequential_vmap
    def backward(saved: Any, cotangent: jax.Array) -> tuple[jax.Array, jax.Array, None]:
        x, last, *_ = saved
        no_cotangent = jnp.zeros_like(last)
        dx, _, _, d_weights, _ = rnn.lstm_bwd(*sizes(x), saved, (cotangent, no_cotangent, no_cotangent))
        return dx, d_weights, None

    @jax.custom_vjp
    def lstm(x: jax.Array, weights: jax.Array, lengths: jax.Array) -> jax.Array:
        return forward(x, weights, lengths)[0]

    lstm.defvjp(forward, backward)
    return lstm
