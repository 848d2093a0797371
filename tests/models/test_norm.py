"""The layer norm, against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.models.norm import LayerNorm


@pytest.mark.parametrize("shape", [(5, 16), (2, 3, 16), (2, 3, 4, 16)])
@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_agrees_with_pytorch_forward_and_backward(shape, mean):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, into = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    scale, bias = (rng.standard_normal(16).astype(np.float32) for _ in range(2))
    x += np.float32(mean)
    theirs = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (x, scale, bias)]
    expected = torch.nn.functional.layer_norm(theirs[0], (16,), theirs[1], theirs[2], eps=1e-5)
    expected.backward(torch.tensor(into, dtype=torch.float64))

    module = LayerNorm(1e-5)

    def norm(x, scale, bias):
        return module.apply({"params": {"scale": scale, "bias": bias}}, x)

    y, pull = jax.vjp(norm, x, scale, bias)

    tolerance = 1e-5 if mean == 0 else 1e-3  # of 1000, float32 keeps steps of 6e-5
    np.testing.assert_allclose(y, expected.detach(), rtol=0, atol=tolerance)
    for ours, their in zip(pull(jnp.asarray(into)), theirs, strict=True):
        np.testing.assert_allclose(ours, their.grad, rtol=0, atol=5 * tolerance)


def test_starts_as_plain_normalisation():
    x = np.random.default_rng(0).normal(3, 2, (4, 32)).astype(np.float32)
    y, params = LayerNorm().init_with_output(jax.random.key(0), x)
    np.testing.assert_allclose(y, (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True), atol=1e-5)
    assert {name: value.shape for name, value in params["params"].items()} == {"scale": (32,), "bias": (32,)}


def test_is_finite_where_nothing_varies():
    params = {"scale": jnp.ones(8), "bias": jnp.zeros(8)}
    y, pull = jax.vjp(lambda x: LayerNorm(1e-12).apply({"params": params}, x), jnp.full((2, 8), 3.0))
    assert not y.any()
    assert np.isfinite(pull(jnp.ones((2, 8)))[0]).all()
