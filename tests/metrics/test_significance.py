"""The permutation and the paired t-test compared with SciPy's, Holm's correction with the closure of Bonferroni's."""

import itertools

import numpy as np
import pytest
import scipy.stats

from emi_jax.metrics import regression
from emi_jax.metrics.significance import holm, paired_t_test, swap_test


def make_runs(subjects, noises=(0.3, 0.5)):
    """Two models' predictions for five clips of each subject, labels, mask, and the subject of each clip."""
    rng = np.random.default_rng(0)
    labels = rng.uniform(size=(5 * subjects, 2))
    one, two = (labels + noise * rng.normal(size=labels.shape) for noise in noises)
    return one, two, labels, rng.uniform(size=labels.shape) < 0.9, np.repeat(np.arange(subjects), 5)


def scipys(one, two, labels, mask, groups, column, **options):
    """SciPy's p-value when it exchanges places, each of which stands for a subject's clips by one of the models."""
    count = groups.max() + 1
    columns = [
        [
            scipy.stats.zscore(np.where(known, x, np.nan), nan_policy="omit")
            for x, known in zip(run.T, mask.T, strict=True)
        ]
        for run in (one, two)
    ]
    both = np.stack([np.stack(run, 1) for run in columns])

    def score(places):
        clips = [(place // count, np.flatnonzero(groups == place % count)) for place in places]
        pred = np.concatenate([both[model, rows] for model, rows in clips])
        rows = np.concatenate([rows for _, rows in clips])
        values = regression.pearson(pred, labels[rows], mask[rows])
        return [*values, values.mean()][column]

    places = np.arange(2 * count)
    return scipy.stats.permutation_test(
        (places[:count], places[count:]),
        lambda first, second: score(first) - score(second),
        permutation_type="samples",
        vectorized=False,
        **options,
    ).pvalue


def test_all_exchanges_of_few_subjects_give_scipys_exact_p_values():
    runs = make_runs(6)
    found = swap_test(*runs)
    np.testing.assert_allclose(found, [scipys(*runs, column) for column in range(3)], rtol=1e-12)
    assert np.all((found * 2**6) % 1 == 0)


def test_random_exchanges_of_many_subjects_agree_with_scipy():
    runs = make_runs(16, (0.4, 0.5))
    expected = scipys(*runs, 2, n_resamples=999, rng=np.random.default_rng(1))
    assert 0.02 < expected < 0.6
    assert swap_test(*runs)[2] == pytest.approx(expected, abs=0.05)


def test_the_scale_of_predictions_does_not_matter():
    one, two, labels, mask, groups = make_runs(8)
    found = swap_test(one, two, labels, mask, groups)
    np.testing.assert_allclose(swap_test(one, 30 * two - 7, labels, mask, groups), found, rtol=1e-12)


def test_a_model_does_not_differ_from_itself():
    one, _, labels, mask, _ = make_runs(16)
    np.testing.assert_array_equal(swap_test(one, one, labels, mask), 1)


def test_exchanging_single_clips_of_similar_ones_is_too_sure():
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(10), 12)
    labels = rng.normal(size=(10, 1))[people]
    one, two = (labels + noise * rng.normal(size=(10, 1))[people] for noise in (0.8, 1.2))
    arrays = one, two, labels, np.ones_like(labels, bool)
    assert swap_test(*arrays)[0] < swap_test(*arrays, people)[0]


def test_a_constant_label_has_no_p_value():
    one, two, labels, mask, groups = make_runs(6)
    labels[:, 1] = 0.5
    found = swap_test(one, two, labels, mask, groups)
    np.testing.assert_array_equal(np.isnan(found), [False, True, False])
    assert found[2] == found[0]


def test_holms_correction_is_the_closure_of_bonferronis():
    p = np.random.default_rng(0).uniform(0, 0.2, 5)
    sets = [set(chosen) for size in range(1, 6) for chosen in itertools.combinations(range(5), size)]
    expected = [max(min(1, len(s) * min(p[list(s)])) for s in sets if k in s) for k in range(5)]
    np.testing.assert_allclose(holm(p), expected, rtol=1e-12)


def test_an_undefined_p_value_is_no_comparison():
    np.testing.assert_allclose(holm([0.02, np.nan, 0.01]), [0.02, np.nan, 0.02])
    assert np.isnan(holm([np.nan])).all()


def test_seeds_are_compared_as_scipys_paired_t_test_does():
    values, reference = np.array([0.61, 0.64, 0.66, 0.6, 0.63]), np.array([0.65, 0.66, 0.69, 0.65, 0.66])
    row, theirs = paired_t_test(values, reference), scipy.stats.ttest_rel(values, reference)
    np.testing.assert_allclose(
        [row["pearson"], *row["interval"]], [values.mean(), *scipy.stats.ttest_1samp(values, 0).confidence_interval()]
    )
    assert row["difference"] == pytest.approx((values - reference).mean())
    np.testing.assert_allclose(row["difference_interval"], theirs.confidence_interval(), rtol=1e-9)
    assert row["p"] == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize(("values", "reference"), [([0.6, 0.7], None), ([0.6, 0.7], [0.6, 0.7]), ([0.6], [0.5])])
def test_what_cannot_be_compared_has_no_p(values, reference):
    row = paired_t_test(np.array(values), None if reference is None else np.array(reference))
    assert row["pearson"] == pytest.approx(np.mean(values))
    assert np.isnan(row["p"])
