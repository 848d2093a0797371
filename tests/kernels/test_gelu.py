"""The GELU: both forms and their gradients against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from emi_jax.kernels import gelu

X = np.concatenate([np.linspace(-9, 9, 181), [-40.0, 40.0]]).astype(np.float32)


@pytest.mark.parametrize("form", [gelu.reference, gelu.tuned, gelu.gelu])
def test_equals_scipy_with_its_gradient(form):
    wide = np.float64(X)
    cumulative = (1 + erf(wide / np.sqrt(2))) / 2
    slope = cumulative + wide * np.exp(-np.square(wide) / 2) / np.sqrt(2 * np.pi)
    value, gradient = jax.vmap(jax.value_and_grad(form))(jnp.asarray(X))
    np.testing.assert_allclose(value, wide * cumulative, atol=2e-6)
    np.testing.assert_allclose(gradient, slope, atol=2e-6)
