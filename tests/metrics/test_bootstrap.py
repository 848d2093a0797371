"""Intervals compared with SciPy's bootstrap and with resamples drawn by hand."""

import numpy as np
import pytest
import scipy.stats

from emi_jax.metrics import bootstrap
from emi_jax.metrics import regression as metrics


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    labels = rng.uniform(size=(120, 2))
    pred = 0.3 * labels + 0.2 * rng.uniform(size=(120, 2)) + 0.4
    return pred, labels, rng.uniform(size=(120, 2)) < 0.9


def test_sums_give_the_metrics_of_a_resample_drawn_by_hand(split):
    pred, labels, mask = split
    groups = np.array([f"s{k % 7}" for k in range(len(pred))])
    sums, shift = bootstrap.group_sums(pred, labels, mask, groups)
    drawn = np.random.default_rng(1).multinomial(7, np.full(7, 1 / 7), 5)
    found = bootstrap.from_sums(np.tensordot(drawn, sums, 1), shift)
    for row, times in enumerate(drawn):
        clips = np.concatenate([np.tile(np.flatnonzero(groups == f"s{k}"), n) for k, n in enumerate(times)])
        for name in bootstrap.METRICS:
            expected = getattr(metrics, name)(pred[clips], labels[clips], mask[clips])
            np.testing.assert_allclose(found[name][row], expected, rtol=1e-9)


def test_resampling_single_clips_gives_scipys_percentile_interval(split):
    pred, labels, mask = split
    mask = np.ones_like(mask)
    found = bootstrap.intervals(pred, labels, mask, resamples=4000)["pearson"]
    for k in range(2):
        theirs = scipy.stats.bootstrap(
            (pred[:, k], labels[:, k]),
            lambda p, y, axis: scipy.stats.pearsonr(p, y, axis=axis).statistic,
            paired=True,
            vectorized=True,
            n_resamples=4000,
            method="percentile",
            rng=np.random.default_rng(3),
        ).confidence_interval
        np.testing.assert_allclose(found[k], theirs, atol=0.012)
        assert found[k, 0] < scipy.stats.pearsonr(pred[:, k], labels[:, k]).statistic < found[k, 1]


def test_the_mean_over_labels_has_its_own_interval(split):
    pred, labels, mask = split
    found = bootstrap.intervals(pred, labels, mask)["pearson"]
    assert found.shape == (3, 2)
    mean = metrics.pearson(pred, labels, mask).mean()
    assert found[2, 0] < mean < found[2, 1]
    assert found[2, 1] - found[2, 0] < np.diff(found[:2]).mean()


def test_similar_clips_within_groups_widen_the_interval():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(12), 10)
    labels = rng.normal(size=(12, 1))[people] + 0.05 * rng.normal(size=(120, 1))
    pred = labels + rng.normal(size=(12, 1))[people]
    mask = np.ones_like(labels, bool)
    alone, together = (bootstrap.intervals(pred, labels, mask, groups)["pearson"][0] for groups in (None, people))
    assert np.ptp(together) > 2 * np.ptp(alone)


def test_differences_are_those_of_both_models_on_the_same_resamples(split):
    pred, labels, mask = split
    other = labels + 0.3 * np.random.default_rng(5).normal(size=labels.shape)
    groups = np.array([f"s{k % 7}" for k in range(len(pred))])
    found = bootstrap.differences(pred, other, labels, mask, groups, resamples=200)
    drawn, apart = bootstrap.draws(7, 200, 0), []
    for times in drawn:
        clips = np.concatenate([np.tile(np.flatnonzero(groups == f"s{k}"), n) for k, n in enumerate(times)])
        one, two = (metrics.pearson(x[clips], labels[clips], mask[clips]) for x in (pred, other))
        apart.append([*(one - two), one.mean() - two.mean()])
    np.testing.assert_allclose(found["pearson"].T, np.quantile(apart, [0.025, 0.975], axis=0), rtol=1e-9)


def test_differences_over_single_clips_have_scipys_paired_interval(split):
    pred, labels, _ = split
    other = labels + 0.3 * np.random.default_rng(5).normal(size=labels.shape)
    found = bootstrap.differences(pred, other, labels, np.ones_like(labels, bool), resamples=4000)["pearson"]
    theirs = scipy.stats.bootstrap(
        (pred[:, 0], other[:, 0], labels[:, 0]),
        lambda p, q, y, axis: (
            scipy.stats.pearsonr(p, y, axis=axis).statistic - scipy.stats.pearsonr(q, y, axis=axis).statistic
        ),
        paired=True,
        vectorized=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    np.testing.assert_allclose(found[0], theirs, atol=0.015)
    one, two = (bootstrap.intervals(x, labels, np.ones_like(labels, bool))["pearson"][0] for x in (pred, other))
    assert np.ptp(found[0]) < np.hypot(np.ptp(one), np.ptp(two))


def test_predictions_that_vary_by_rounding_alone_have_no_correlation(split):
    _, labels, mask = split
    pred = np.where(np.arange(len(labels))[:, None] % 2, np.float32(0.3), np.nextafter(np.float32(0.3), 1))
    pred = np.broadcast_to(pred, labels.shape)
    np.testing.assert_array_equal(bootstrap.intervals(pred, labels, mask)["pearson"], 0)


def test_constant_predictions_and_constant_labels_are_distinguished(split):
    pred, labels, mask = (x.copy() for x in split)
    pred[:, 0], labels[:, 1] = 0.3, 0.1
    found = bootstrap.intervals(pred, labels, mask)
    np.testing.assert_array_equal(found["pearson"][0], 0)
    assert np.isnan(found["pearson"][1]).all()
    np.testing.assert_array_equal(found["pearson"][2], 0)
    assert np.isfinite(found["mse"]).all()
