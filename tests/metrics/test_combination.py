"""Combined predictions against SciPy and a brute-force search."""

import numpy as np
import pytest
import scipy.stats

from emi_jax.metrics.combination import fitted_weights, rank_mean


def test_rank_means_are_those_of_scipys_ranks():
    predictions = np.random.default_rng(0).integers(0, 5, (3, 12, 2)).astype(float)
    expected = np.zeros((12, 2))
    for model in predictions:
        for k in range(2):
            expected[:, k] += (scipy.stats.rankdata(model[:, k]) - 0.5) / 12 / 3
    np.testing.assert_allclose(rank_mean(predictions), expected)
    np.testing.assert_allclose(rank_mean(predictions), rank_mean(np.exp(3 * predictions)))


def test_fitted_weights_have_the_smallest_error_of_all_non_negative_ones():
    rng = np.random.default_rng(1)
    labels = rng.random((40, 3))
    noise = rng.normal(size=(2, 40, 3)) * np.array([0.1, 0.3])[:, None, None]
    predictions = np.concatenate([labels + noise + 5.0, -labels[None]])
    known = rng.random(labels.shape) < 0.9
    weights = fitted_weights(predictions, np.where(known, labels, np.nan), known)
    assert weights.sum() == pytest.approx(1)
    assert weights[2] == 0

    def error(share, scale):
        mixed = scale * (share * predictions[0] + (1 - share) * predictions[1])
        apart = np.where(known, mixed - labels, 0)
        return np.square(np.where(known, apart - apart.sum(0) / known.sum(0), 0)).sum()

    grid = np.linspace(0, 1, 201)
    best = min((error(share, scale), share) for share in grid for scale in np.linspace(0.5, 1.2, 71))[1]
    assert weights[0] == pytest.approx(best, abs=0.01)


def test_models_that_all_oppose_the_labels_have_no_weights():
    labels = np.random.default_rng(2).random((10, 2))
    with pytest.raises(ValueError, match="go along with the labels"):
        fitted_weights(-labels[None], labels, np.ones((10, 2), bool))
