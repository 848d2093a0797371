"""Calibration curves compared with SciPy and with resamples drawn by hand."""

import numpy as np
import pytest
import scipy.stats

from emi_jax.metrics import bootstrap
from emi_jax.metrics.calibration import calibration


@pytest.fixture
def column():
    rng = np.random.default_rng(0)
    labels = rng.uniform(size=120)
    return 0.5 * labels + 0.2 + 0.1 * rng.normal(size=120), labels, rng.uniform(size=120) < 0.9


def test_bins_hold_equally_many_clips_and_their_means(column):
    pred, labels, known = column
    found = calibration(*column)
    p, y = pred[known], labels[known]
    edges = np.quantile(p, np.linspace(0, 1, 11))
    assert np.ptp(found.clips) <= 2
    assert found.clips.sum() == len(p)
    for values, means in ((p, found.prediction), (y, found.label)):
        np.testing.assert_allclose(means, scipy.stats.binned_statistic(p, values, bins=edges).statistic, rtol=1e-12)
    assert found.slope == pytest.approx(scipy.stats.linregress(p, y).slope)
    assert found.bias == pytest.approx(np.mean(p - y))
    assert found.error == pytest.approx(np.average(np.abs(found.prediction - found.label), weights=found.clips))


def test_intervals_are_those_of_whole_groups_drawn_by_hand(column):
    pred, labels, known = column
    groups = np.arange(120) % 9
    found = calibration(*column, groups)
    p, y, who = pred[known], labels[known], groups[known]
    place = np.searchsorted(np.quantile(p, np.linspace(0, 1, 11))[1:-1], p, side="right")
    means = []
    for times in bootstrap.draws(9, 2000, 0)[:, who]:
        weights = [times * (place == number) for number in range(10)]
        means.append([w @ y / w.sum() if w.any() else np.nan for w in weights])
    np.testing.assert_allclose(found.interval.T, np.nanquantile(means, [0.025, 0.975], axis=0), rtol=1e-9)


def test_perfect_predictions_lie_on_the_diagonal(column):
    _, labels, known = column
    found = calibration(labels, labels, known)
    np.testing.assert_array_equal(found.prediction, found.label)
    assert (found.bias, found.error) == (0, 0)
    assert found.slope == pytest.approx(1)


def test_equal_predictions_share_a_bin(column):
    _, labels, known = column
    found = calibration(np.full(120, 0.3), labels, known)
    assert found.clips.tolist() == [known.sum()]
    assert np.isnan(found.slope)
    assert found.label[0] == pytest.approx(labels[known].mean())
    assert calibration(labels, labels, np.zeros(120, bool)) is None


def test_clips_of_one_person_give_a_bin_no_interval(column):
    pred, labels, known = column
    found = calibration(pred, labels, known, (pred > np.median(pred)).astype(str))
    assert np.isnan(found.interval[0]).all()
