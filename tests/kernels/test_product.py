"""The product of linear layers: the form for the CPU against the plain one and against NumPy."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.kernels import product as kernels

ROWS, D_IN, D_OUT = 24, 8, 12


def arguments(shape=(ROWS, D_IN)):
    rng = np.random.default_rng(0)
    return rng.normal(size=shape), rng.normal(size=(D_IN, D_OUT)), rng.normal(size=(*shape[:-1], D_OUT))


def with_gradients(form, dtype, x, kernel, cotangent):
    """The product and its gradients by both operands."""
    x, kernel, cotangent = (jnp.asarray(a, jnp.float32) for a in (x, kernel, cotangent))
    result, pull = jax.vjp(partial(form, dtype=dtype), x, kernel)
    return result, *pull(cotangent)


@pytest.mark.parametrize("shape", [(ROWS, D_IN), (2, 3, 5, D_IN), (D_IN,), (0, D_IN)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-6), (jnp.bfloat16, 0.02)])
@pytest.mark.parametrize("form", [kernels.product, kernels.tuned, kernels.reference])
def test_the_product_and_its_gradients_are_those_of_numpy(form, dtype, tolerance, shape):
    x, kernel, cotangent = arguments(shape)
    rows, columns = x.reshape(-1, D_IN), cotangent.reshape(-1, D_OUT)
    expected = x @ kernel, cotangent @ kernel.T, rows.T @ columns
    for one, other in zip(with_gradients(form, dtype, x, kernel, cotangent), expected, strict=True):
        assert one.dtype == jnp.float32
        assert one.shape == other.shape
        np.testing.assert_allclose(one, other, atol=tolerance * max(1.0, np.abs(other).max(initial=0)))


def test_the_form_for_the_cpu_rounds_operands_alone():
    """Sums of rounded operands, in float32: against NumPy in float64 on the same rounded numbers."""
    x, kernel, cotangent = (np.asarray(jnp.asarray(a, jnp.bfloat16), np.float64) for a in arguments())
    result, _, into_kernel = with_gradients(kernels.tuned, jnp.bfloat16, x, kernel, cotangent)
    np.testing.assert_allclose(result, x @ kernel, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(into_kernel, x.T @ cotangent, rtol=1e-5, atol=1e-5)


def test_operands_of_other_dtypes_get_gradients_of_their_own():
    x, kernel, _ = arguments()
    gradients = jax.grad(lambda *operands: kernels.tuned(*operands, jnp.bfloat16).sum(), argnums=(0, 1))
    into_x, into_kernel = gradients(jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.float32))
    assert into_x.dtype == jnp.bfloat16
    assert into_kernel.dtype == jnp.float32


def test_several_models_at_once_get_what_each_gets_alone():
    """Folds and seeds are trained side by side, by `vmap`."""
    x, kernel, cotangent = (np.stack([a, -2 * a]) for a in arguments())
    together = jax.vmap(partial(with_gradients, kernels.tuned, jnp.bfloat16))(x, kernel, cotangent)
    for n in range(2):
        alone = with_gradients(kernels.tuned, jnp.bfloat16, x[n], kernel[n], cotangent[n])
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[n], other, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif(not kernels.multiplies_bfloat16(), reason="this processor does not multiply bfloat16")
def test_xla_multiplies_in_bfloat16_in_both_directions():
    """Were an operand laid out otherwise, XLA on the CPU would convert both and multiply in float32."""
    take = jax.jit(partial(with_gradients, kernels.tuned, jnp.bfloat16))
    compiled = take.lower(*(jnp.asarray(a, jnp.float32) for a in arguments((512, D_IN)))).compile().as_text()
    assert compiled.count(" dot(") == compiled.count("__ynn_fusion") == 3
    assert " convert(" in compiled
    assert not re.search(r"f32\[.*convert\(.*bf16", compiled)


@pytest.mark.parametrize(("platform", "rounded"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_other_platforms_than_the_cpu_run_the_plain_form(monkeypatch, platform, rounded):
    """The plain form alone has products whose result is bfloat16."""
    monkeypatch.setattr(kernels, "multiplies_bfloat16", lambda: True)
    # A shape of no other test: what those traced would be used again.
    operands = [jnp.asarray(a, jnp.float32) for a in arguments((ROWS + 1, D_IN))[:2]]
    traced = jax.jit(partial(kernels.product, dtype=jnp.bfloat16)).trace(*operands)
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert (f"-> tensor<{ROWS + 1}x{D_OUT}xbf16>" in text) == rounded


@pytest.mark.parametrize(("flags", "expected"), [("fpu avx512_bf16", True), ("fpu amx_bf16", True), ("fpu", False)])
def test_processors_are_asked_whether_they_multiply_bfloat16(monkeypatch, flags, expected):
    monkeypatch.setattr(kernels.Path, "read_text", lambda path: f"flags\t\t: {flags}\n")
    kernels.multiplies_bfloat16.cache_clear()
    try:
        assert kernels.multiplies_bfloat16() == expected
    finally:
        kernels.multiplies_bfloat16.cache_clear()
