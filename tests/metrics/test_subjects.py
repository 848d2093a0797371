"""Scores of subjects compared with SciPy on the clips of each."""

import numpy as np
import pytest
import scipy.stats

from emi_jax.metrics import subjects


@pytest.fixture
def split():
    rng = np.random.default_rng(0)
    labels = rng.uniform(size=(60, 3))
    pred = labels + 0.3 * rng.normal(size=(60, 3))
    who = [("", "b", "a", "c", "d")[k % 5] for k in range(58)] + ["e", "e"]
    return pred, labels, rng.uniform(size=(60, 3)) < 0.8, who


def test_each_subject_is_scored_on_its_own_clips(split):
    pred, labels, mask, who = split
    found = subjects.by_subject(*split)
    assert found.names == ["a", "b", "c", "d", "e"]
    assert found.clips.tolist() == [who.count(name) for name in found.names]
    for row, name in enumerate(found.names[:4]):
        mine = np.array(who) == name
        rho, mse = [], []
        for k in range(3):
            clips = mine & mask[:, k]
            rho.append(scipy.stats.pearsonr(pred[clips, k], labels[clips, k]).statistic)
            mse.append(np.mean((pred[clips, k] - labels[clips, k]) ** 2))
        np.testing.assert_allclose(found.pearson[row], [*rho, np.mean(rho)], rtol=1e-9)
        np.testing.assert_allclose(found.mse[row], [*mse, np.mean(mse)], rtol=1e-9)
    assert np.isnan(found.pearson[4]).all(), "two clips have no correlation"
    assert np.isfinite(found.mse[4, -1])


def test_subjects_are_ranked_by_their_means(split):
    pred, labels, _, who = split
    mask = np.ones_like(labels, bool)
    names = ["a", "b", "c", "d", "e"]
    means = [np.array([x[np.array(who) == name].mean(0) for name in names]) for x in (pred, labels)]
    expected = [scipy.stats.pearsonr(*columns).statistic for columns in zip(means[0].T, means[1].T, strict=True)]
    assert subjects.by_subject(pred, labels, mask, who).between == pytest.approx(np.mean(expected))
    two = [name if name in ("a", "b") else "" for name in who]
    assert np.isnan(subjects.by_subject(pred, labels, mask, two).between)


def test_without_known_subjects_there_are_no_scores(split):
    found = subjects.by_subject(*split[:3], [""] * 60)
    assert (found.names, found.pearson.shape) == ([], (0, 4))
    assert subjects.spread(found.pearson[:, -1]) == {"subjects": 0}


def test_the_spread_leaves_out_subjects_without_a_score():
    values = np.array([0.1, np.nan, 0.4, 0.5, 0.8, 0.3])
    known = values[np.isfinite(values)]
    found = subjects.spread(values)
    theirs = scipy.stats.bootstrap((known,), np.mean, method="percentile", rng=np.random.default_rng(0))
    np.testing.assert_allclose(found["interval"], theirs.confidence_interval, atol=0.03)
    assert found["deviation"] == pytest.approx(np.std(known, ddof=1))
    assert (found["subjects"], found["lowest"], found["median"], found["highest"]) == (5, 0.1, 0.4, 0.8)
    single = subjects.spread(np.array([0.5]))
    assert (single["mean"], single["deviation"], single["interval"]) == (0.5, None, [None, None])
