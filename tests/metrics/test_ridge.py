"""Kernel ridge equals the primal solution."""

import numpy as np

from emi_jax.metrics.ridge import ridge


def test_dual_equals_primal_solution():
    rng = np.random.default_rng(0)
    x, labels, new = rng.normal(size=(12, 30)), rng.random((12, 2)), rng.normal(size=(5, 30))
    [found] = ridge(x, labels, [new], penalty=0.7)
    centred = labels - labels.mean(axis=0)
    weights = np.linalg.solve(x.T @ x / 30 + 0.7 * np.eye(30), x.T @ centred / 30)
    np.testing.assert_allclose(found, labels.mean(axis=0) + new @ weights, rtol=1e-8)
