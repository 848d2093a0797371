"""The wide convolution: the form for the CPU against XLA's convolution and against NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.kernels.convolution import convolve, reference

GROUPS = 2


def arguments(clips, width):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(clips, 9, 4)), rng.normal(size=(width, 4 // GROUPS, 4))
    return x.astype(np.float32), kernel.astype(np.float32)


@pytest.mark.parametrize("clips", [1, 40])
@pytest.mark.parametrize("width", [1, 6, 7])
def test_equals_the_sums_written_out(clips, width):
    x, kernel = arguments(clips, width)
    padded = np.pad(x, ((0, 0), (width // 2, width // 2), (0, 0))).astype(np.float64)
    expected = np.zeros(x.shape)
    for step in range(9):
        for channel in range(4):
            group = slice(channel // 2 * 2, channel // 2 * 2 + 2)
            taps = padded[:, step : step + width, group] * kernel[None, :, :, channel]
            expected[:, step, channel] = taps.sum((1, 2))
    for form in (convolve, reference):
        np.testing.assert_allclose(form(x, kernel, GROUPS), expected, atol=1e-5)


@pytest.mark.parametrize(("dtype", "atol"), [(jnp.float32, 1e-4), (jnp.bfloat16, 0.1)])
@pytest.mark.parametrize("width", [6, 7])
def test_both_forms_agree_forward_and_backward(dtype, atol, width):
    arrays = [jnp.asarray(array, dtype).astype(jnp.float32) for array in arguments(2, width)]

    def total(form, *arrays):
        y = form(*arrays, GROUPS, dtype)
        assert y.dtype == jnp.float32
        return (y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)).sum(), y

    ours, expected = (
        jax.jit(jax.grad(partial(total, form), argnums=(0, 1), has_aux=True))(*arrays) for form in (convolve, reference)
    )
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("clips", [1, 40])
@pytest.mark.parametrize(("platform", "plain"), [("cpu", False), ("cuda", True), ("tpu", True)])
def test_each_platform_has_one_algorithm(platform, plain, clips, dtype):
    """On accelerators in the model's dtype, full float32 or bfloat16; on the CPU in full float32."""
    traced = jax.jit(partial(convolve, groups=GROUPS, dtype=dtype)).trace(*arguments(clips, 6))
    lowered = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.convolution" in lowered) == plain
    assert ("stablehlo.fft" in lowered) != plain
    (product,) = [line for line in lowered.splitlines() if "stablehlo.convolution" in line or "dot_general" in line]
    rounded = plain and dtype == jnp.bfloat16
    assert product.count("HIGHEST") == (0 if rounded else 2)
    assert ("xbf16>" in product.rpartition("->")[2]) == rounded
