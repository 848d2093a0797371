"""The recurrence of an LSTM, with its gates i, f, g, o: a plain scan, and a faster form for the CPU."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from emi_jax.kernels.product import kernel_gradient

Sequences = tuple[Array, ...]


def reference(projected: Sequences, kernel: Array, mask: Array, dtype: DTypeLike) -> Sequences:
    """The plain form of `recurrence`."""
    kernel = kernel.astype(dtype)

    def step(carry: tuple[Array, Array], inputs: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        h, c = carry
        *gates, valid = inputs
        i, f, g, o = jnp.split(jnp.stack(gates) + _product(h, kernel), 4, axis=-1)
        new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        new_h = jax.nn.sigmoid(o) * jnp.tanh(new_c)
        h, c = (jnp.where(valid[..., None], new, old) for new, old in ((new_h, h), (new_c, c)))
        return (h, c), h

    _, h = lax.scan(step, (_start(projected[0], kernel),) * 2, (*projected, mask))
    return tuple(h[:, n] for n in range(len(projected)))


def recurrence(projected: Sequences, kernel: Array, mask: Array, dtype: DTypeLike) -> Sequences:
    """Runs an LSTM (Hochreiter and Schmidhuber 1997, with forget gates) in N directions at once, one or both.

    With z_t = projected input + h_{t-1} U, split into the gates i, f, g, o (PyTorch's order):
    c_t = sigmoid(z_f) c_{t-1} + sigmoid(z_i) tanh(z_g) and h_t = sigmoid(z_o) tanh(c_t). A masked step leaves the state
    as it is.

    Args:
        projected: projected inputs x W + b of each direction, float32 `[T, B, 4H]`, in that direction's order: the
            backward direction has the last step first.
        kernel: U of each direction, `[N, H, 4H]`.
        mask: bool `[T, N, B]`, True = valid, in each direction's order.
        dtype: dtype of the operands of products; states and sums are float32.

    Returns:
        The states h of each direction, float32 `[T, B, H]`, in its own order.
    """
    forms = {"cpu": partial(tuned, dtype=dtype), "default": partial(reference, dtype=dtype)}
    return lax.platform_dependent(projected, kernel, mask, **forms)


def tuned(projected: Sequences, kernel: Array, mask: Array, dtype: DTypeLike) -> Sequences:
    """The form for the CPU: one tanh for all gates, and its own gradient."""
    # sigmoid(x) = 1/2 + tanh(x/2) / 2: with the inputs of the gates i, f and o halved, one tanh evaluates all four.
    # Made from an argument, so that under shard_map the product varies over devices as `_recurrence` requires.
    halves = jnp.zeros_like(projected[0], shape=(4, kernel.shape[1])) + jnp.array([0.5, 0.5, 1.0, 0.5])[:, None]
    factors = halves.reshape((1, 1, -1))
    return _recurrence(dtype, tuple(x * factors for x in projected), kernel * factors, mask)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(dtype: DTypeLike, projected: Sequences, kernel: Array, mask: Array) -> Sequences:
    """As `recurrence`, of halved inputs.

    The backward pass moves everything that does not depend on the next step out of the scan, above all the gradient of
    the kernel, which is one product over all steps.
    """
    return _recurrence_forward(dtype, projected, kernel, mask)[0]


def _recurrence_forward(
    dtype: DTypeLike, projected: Sequences, kernel: Array, mask: Array
) -> tuple[Sequences, tuple[Array, ...]]:
    weights = kernel.astype(dtype)

    def step(carry: tuple[Array, Array], inputs: Any) -> tuple[Any, Any]:
        h, c = carry
        *gates, valid = inputs
        activations = jnp.tanh(jnp.stack(gates) + _product(h, weights))
        i, f, g, o = _gates(activations)
        new_c = f * c + i * g
        h = jnp.where(valid[..., None], o * jnp.tanh(new_c), h)
        c = jnp.where(valid[..., None], new_c, c)
        return (h, c), (tuple(h), c, activations)

    _, (h, c, activations) = lax.scan(step, (_start(projected[0], kernel),) * 2, (*projected, mask))
    return h, (h, c, activations, kernel, mask)


def _recurrence_backward(dtype: DTypeLike, saved: tuple[Array, ...], cotangents: Sequences) -> tuple[Any, ...]:
    h, c, activations, kernel, mask = saved

    # d_gates = [dc, dc, dc, dh] * slopes. The slopes are derivatives by the halved inputs: twice those of a sigmoid.
    i, f, g, o = _gates(activations)
    tanh_c = jnp.tanh(c)
    valid = mask[..., None]
    each = (2 * g * i * (1 - i), 2 * _previous(c) * f * (1 - f), i * (1 - g * g), 2 * tanh_c * o * (1 - o))
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
        through = _product(d_gates, weights)
        return (through + jnp.where(valid, 0, dh), dc * kept), tuple(d_gates)

    start = (_start(activations, kernel),) * 2
    _, d_gates = lax.scan(step, start, (*cotangents, slopes, c_from_h, kept, valid), reverse=True)
    d_kernel = [
        kernel_gradient(*(x.astype(dtype).reshape(-1, x.shape[-1]) for x in (_previous(states), d)))
        for states, d in zip(h, d_gates, strict=True)
    ]
    return d_gates, jnp.stack(d_kernel), None


_recurrence.defvjp(_recurrence_forward, _recurrence_backward)


def _gates(activations: Array) -> tuple[Array, ...]:
    i, f, g, o = jnp.split(activations, 4, axis=-1)
    return 0.5 + 0.5 * i, 0.5 + 0.5 * f, g, 0.5 + 0.5 * o


def _previous(states: Array) -> Array:
    """The states `[T, ...]` one step earlier, zero at the first."""
    return jnp.concatenate([jnp.zeros_like(states[:1]), states[:-1]])


def _start(like: Array, kernel: Array) -> Array:
    """Zero state of every direction, float32 `[N, B, H]`."""
    return jnp.zeros_like(like, jnp.float32, shape=(len(kernel), like.shape[-2], kernel.shape[1]))


def _product(x: Array, weights: Array) -> Array:
    """Multiplies x `[N, B, D]` with the weights `[N, D, E]` of its direction, in their dtype."""
    return jnp.einsum("nbd,nde->nbe", x.astype(weights.dtype), weights, preferred_element_type=jnp.float32)
