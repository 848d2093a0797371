"""Split metrics compared with SciPy and plain NumPy."""

import numpy as np
import pytest
import scipy.stats

from emi_jax.metrics import regression as metrics


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    labels = rng.uniform(size=(50, 3))
    pred = 0.4 * labels + rng.uniform(size=(50, 3))
    mask = rng.uniform(size=(50, 3)) < 0.8
    return pred, labels, mask


def test_pearson_equals_scipys_over_the_known_entries(split):
    pred, labels, mask = split
    expected = [scipy.stats.pearsonr(pred[m, k], labels[m, k]).statistic for k, m in enumerate(mask.T)]
    np.testing.assert_allclose(metrics.pearson(pred, labels, mask), expected, rtol=1e-12)
    hidden = np.where(mask, labels, np.nan)
    np.testing.assert_allclose(metrics.pearson(pred, hidden), expected, rtol=1e-12)
    np.testing.assert_allclose(metrics.pearson(1e-170 * pred, labels, mask), expected, rtol=1e-9)


def test_mse_and_ccc_follow_their_formulas(split):
    pred, labels, mask = split
    for k, m in enumerate(mask.T):
        p, y = pred[m, k], labels[m, k]
        covariance = np.cov(p, y, bias=True)
        ccc = 2 * covariance[0, 1] / (np.trace(covariance) + (p.mean() - y.mean()) ** 2)
        np.testing.assert_allclose(metrics.ccc(pred, labels, mask)[k], ccc, rtol=1e-12)
        np.testing.assert_allclose(metrics.mse(pred, labels, mask)[k], np.mean((p - y) ** 2), rtol=1e-12)


def test_correlation_is_zero_for_constant_predictions_and_nan_for_constant_labels(split):
    pred, labels, mask = (x.copy() for x in split)
    pred[:, 0] = np.nextafter(np.float32(0.3), np.float32(mask[:, 0]))
    labels[:, 1] = np.float32(0.1)
    assert metrics.pearson(pred, labels, mask)[0] == 0
    assert metrics.ccc(pred, labels, mask)[0] == pytest.approx(0, abs=1e-6)
    rho = scipy.stats.pearsonr(pred[mask[:, 2], 2], labels[mask[:, 2], 2]).statistic
    np.testing.assert_allclose(metrics.pearson(pred, labels, mask), [0, np.nan, rho], rtol=1e-12)
    assert np.isnan(metrics.ccc(pred, labels, mask)[1])


def test_an_unknown_label_has_no_metric(split):
    pred, labels, mask = split
    mask = mask & np.array([True, False, True])
    for metric in (metrics.pearson, metrics.ccc, metrics.mse):
        np.testing.assert_array_equal(np.isnan(metric(pred, labels, mask)), [False, True, False])
    assert np.isnan(metrics.pearson(pred, labels, np.zeros_like(mask))).all()


def test_errors_say_what_is_wrong(split):
    pred, labels, mask = split
    with pytest.raises(ValueError, match="one shape"):
        metrics.pearson(pred[:, :2], labels, mask)
    pred = pred.copy()
    pred[7, 1] = np.inf
    with pytest.raises(ValueError, match="predictions that are not finite, the first at row 7, column 1"):
        metrics.mse(pred, labels, np.ones_like(mask))
