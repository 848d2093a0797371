"""The layer norm: both forms against PyTorch, with their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.kernels import layer_norm

EPSILON = 1e-3


@pytest.mark.parametrize("form", [layer_norm.reference, layer_norm.tuned])
@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_equals_pytorch_with_its_gradients(form, mean):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = np.float32(mean + rng.normal(size=(7, 24)) * rng.uniform(0.1, 4, size=(7, 1)))
    scale, bias, weight = (np.float32(rng.normal(size=shape)) for shape in ((24,), (24,), (7, 24)))

    wide = [torch.tensor(np.float64(y), requires_grad=True) for y in (x, scale, bias)]
    expected = torch.nn.functional.layer_norm(wide[0], (24,), wide[1], wide[2], EPSILON)
    (expected * torch.tensor(np.float64(weight))).sum().backward()

    def total(*inputs):
        result = form(*inputs, EPSILON)
        return (result * weight).sum(), result

    gradients, result = jax.grad(total, argnums=(0, 1, 2), has_aux=True)(*map(jnp.asarray, (x, scale, bias)))
    tolerance = 1e-5 if mean == 0 else 1e-3  # float32 holds x itself to 1.5e-5 there
    np.testing.assert_allclose(result, expected.detach().numpy(), atol=tolerance)
    for gradient, of in zip(gradients, wide, strict=True):
        np.testing.assert_allclose(gradient, of.grad.numpy(), atol=tolerance * np.abs(of.grad.numpy()).max())
