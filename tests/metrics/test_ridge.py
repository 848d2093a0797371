"""Ridge equals its closed form; the penalty is the best one on clips that were not fitted."""

import numpy as np
import pytest

from emi_jax.metrics.ridge import ALL, PENALTIES, best_penalty, by_penalty, ridge


def primal(x, labels, new, penalty):
    """Ridge regression in its primal form."""
    centre, size = labels.mean(axis=0), x.shape[1]
    weights = np.linalg.solve(x.T @ x / size + penalty * np.eye(size), x.T @ (labels - centre) / size)
    return centre + new @ weights


@pytest.mark.parametrize("clips", [12, 40])
def test_both_forms_equal_the_closed_form(clips):
    rng = np.random.default_rng(0)
    x, labels, new = rng.normal(size=(clips, 30)), rng.random((clips, 2)), rng.normal(size=(5, 30))
    found = ridge(x, labels, new, penalties=(0.7, 2.0))
    assert list(found) == [0.7, 2.0]
    for penalty, predicted in found.items():
        np.testing.assert_allclose(predicted, primal(x, labels, new, penalty), rtol=1e-8)


def test_each_modality_is_standardised_and_their_predictions_are_added():
    rng = np.random.default_rng(0)
    labels = rng.random((15, 2))
    train = {"audio": 3 + 5 * rng.normal(size=(15, 4)), "text": rng.normal(size=(15, 6))}
    train["text"][:, 2] = 1.0
    others = {"audio": rng.normal(size=(3, 4)), "text": rng.normal(size=(3, 6))}
    found = by_penalty(train, labels, others)
    assert list(found) == ["audio", "text", ALL]
    for penalty in PENALTIES:
        parts = []
        for name, x in train.items():
            deviation = np.where(x.std(0) > 0, x.std(0), 1)
            standardised = [(values - x.mean(0)) / deviation for values in (x, others[name])]
            parts.append(primal(standardised[0], labels, standardised[1], penalty))
            np.testing.assert_allclose(found[name][penalty], parts[-1], rtol=1e-7)
        np.testing.assert_allclose(found[ALL][penalty], sum(parts), rtol=1e-7)


def test_the_best_penalty_is_that_of_the_highest_correlation():
    rng = np.random.default_rng(0)
    labels = rng.random((20, 2))
    known = np.ones_like(labels, bool)
    predicted = {0.1: rng.random((20, 2)), 1.0: labels + 0.1 * rng.random((20, 2)), 3.0: labels * [1, -1]}
    assert best_penalty(predicted, labels, known) == 1.0
    constant = np.full_like(labels, 0.5)
    assert best_penalty(predicted, constant, known) == 0.1, "the first one where no label varies"
