"""Pooled statistics compared with plain Python over the valid steps."""

import statistics

import numpy as np
import pytest

from emi_jax.descriptors.statistics import pooled_statistics


def test_statistics_follow_their_definitions():
    valid = np.array([False, True, True, False, True, True, True])
    features = np.random.default_rng(0).normal(loc=3, size=(7, 2)).astype(np.float32)
    features[~valid] = np.nan
    pooled = pooled_statistics(features, valid).reshape(6, 2)
    assert pooled.dtype == np.float32
    for column in range(2):
        x = [float(value) for value in features[:, column]]
        steps = sorted(x[t] for t in (1, 2, 4, 5, 6))
        deciles = [steps[0] * 0.6 + steps[1] * 0.4, steps[2], steps[3] * 0.4 + steps[4] * 0.6]
        changes = [x[2] - x[1], x[5] - x[4], x[6] - x[5]]
        expected = [statistics.fmean(steps), statistics.pstdev(steps), *deciles, statistics.pstdev(changes)]
        np.testing.assert_allclose(pooled[:, column], expected, rtol=1e-5)


def test_one_step_has_no_deviation():
    features = np.array([[np.inf, 0], [2, -5]], np.float32)
    pooled = pooled_statistics(features, np.array([False, True])).reshape(6, 2)
    np.testing.assert_array_equal(pooled, [[2, -5], [0, 0], [2, -5], [2, -5], [2, -5], [0, 0]])


def test_separate_steps_have_no_differences():
    features = np.array([[1.0], [9], [3]], np.float32)
    pooled = pooled_statistics(features, np.array([True, False, True]))
    np.testing.assert_allclose(pooled, [2, 1, 1.2, 2, 2.8, 0], rtol=1e-6)


@pytest.mark.parametrize("steps", [0, 3])
def test_no_valid_step_gives_zeros(steps):
    np.testing.assert_array_equal(pooled_statistics(np.ones((steps, 4)), np.zeros(steps, bool)), np.zeros(24))


@pytest.mark.parametrize("valid", [np.ones(3, bool), np.ones(2), np.ones((2, 1), bool)])
def test_other_masks_are_refused(valid):
    with pytest.raises(ValueError, match=r"expected \[T, D\] and bool \[T\]"):
        pooled_statistics(np.ones((2, 4)), valid)
