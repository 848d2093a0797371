"""Matrices of correlations compared with SciPy, pair by pair."""

import numpy as np
import scipy.stats

from emi_jax.metrics.confusion import confusion


def test_matrices_are_scipys_over_the_entries_that_are_known_of_both():
    rng = np.random.default_rng(0)
    labels = rng.uniform(size=(50, 3))
    pred = labels @ rng.uniform(size=(3, 3)) + 0.2 * rng.normal(size=(50, 3))
    mask = rng.uniform(size=(50, 3)) < 0.8
    hidden = np.where(mask, labels, np.nan)
    found = confusion(pred, hidden, mask)
    for i in range(3):
        for j in range(3):
            both, one = mask[:, i] & mask[:, j], mask[:, j]
            expected = {
                "labels": (labels[both, i], labels[both, j]),
                "predictions": (pred[one, i], labels[one, j]),
                "residuals": ((labels - pred)[both, i], (labels - pred)[both, j]),
            }
            for name, columns in expected.items():
                rho = scipy.stats.pearsonr(*columns).statistic
                np.testing.assert_allclose(found[name][i, j], rho, rtol=1e-9, err_msg=name)


def test_constant_columns_have_no_correlation():
    rng = np.random.default_rng(0)
    pred, labels = rng.uniform(size=(2, 20, 2))
    labels[:, 1] = 0.3
    found = confusion(pred, labels, np.ones((20, 2), bool))
    np.testing.assert_array_equal(np.isnan(found["predictions"]), [[False, True], [False, True]])
    np.testing.assert_array_equal(np.isnan(found["labels"]), [[False, True], [True, True]])
    assert np.isfinite(found["residuals"]).all()
