"""The recurrence of the LSTM: the form for the CPU against the plain scan. `test_bilstm` holds it to PyTorch's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.kernels.lstm import recurrence, reference

T, B, H = 6, 3, 4


def arguments(mask, directions=2):
    rng = np.random.default_rng(0)
    projected = tuple(rng.normal(size=(directions, T, B, 4 * H)).astype(np.float32))
    kernel = rng.normal(scale=0.5, size=(directions, H, 4 * H)).astype(np.float32)
    return projected, kernel, np.stack([mask, mask[::-1]][:directions], axis=1)


def results(function, dtype, *arrays):
    """States, and the gradients of a weighted sum of them by the inputs and the kernel."""

    def total(projected, kernel, mask):
        states = jnp.stack(function(projected, kernel, mask, dtype))
        return (states * jnp.cos(jnp.arange(states.size)).reshape(states.shape)).sum(), states

    gradients, states = jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(*arrays)
    return [states, *jax.tree.leaves(gradients)]


LENGTHS = np.arange(T)[:, None] < np.array([6, 1, 4])[None]


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.02)])
@pytest.mark.parametrize("mask", [LENGTHS, np.zeros_like(LENGTHS), np.arange(T * B).reshape(T, B) % 3 > 0])
@pytest.mark.parametrize("directions", [1, 2])
def test_both_forms_agree_forward_and_backward(directions, dtype, tolerance, mask):
    arrays = arguments(mask, directions)
    expected = results(reference, dtype, *arrays)
    for one, other in zip(results(recurrence, dtype, *arrays), expected, strict=True):
        assert one.dtype == other.dtype == jnp.float32
        np.testing.assert_allclose(one, other, atol=tolerance * max(np.abs(other).max(), 1.0))


@pytest.mark.parametrize(("platform", "plain"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_other_platforms_than_the_cpu_run_the_plain_form(platform, plain):
    """Only the plain form has sigmoids, and so exponentials."""
    traced = jax.jit(partial(recurrence, dtype=jnp.float32)).trace(*arguments(LENGTHS))
    assert ("stablehlo.exponential" in traced.lower(lowering_platforms=(platform,)).as_text()) == plain
