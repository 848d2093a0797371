"""The ridge in the folds of a cross-validation."""

import json

import numpy as np
import pytest

from emi_jax.runs.baseline import score_baseline
from emi_jax.runs.folds_baseline import predict_folds


def test_held_out_labels_take_no_part_and_the_signal_is_found():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 8)).astype(np.float32)
    labels = x[:, :2] @ rng.normal(size=(2, 3)) + 0.1 * rng.normal(size=(60, 3))
    subjects = [f"s{row % 12}" for row in range(60)]
    fold_of = np.arange(60) % 12 % 4
    known = np.ones(labels.shape, bool)
    parts = {"audio": x[:, :4], "text": x[:, 4:]}
    predicted = predict_folds(parts, labels, known, subjects, fold_of)
    assert set(predicted) == {"audio", "text", "all"}
    found = [np.corrcoef(predicted["audio"][:, k], labels[:, k])[0, 1] for k in range(3)]
    assert min(found) > 0.9
    changed = labels.copy()
    changed[fold_of == 2] = rng.normal(size=changed[fold_of == 2].shape)
    again = predict_folds(parts, changed, known, subjects, fold_of)
    np.testing.assert_array_equal(again["all"][fold_of == 2], predicted["all"][fold_of == 2])
    assert np.abs(again["all"][fold_of == 1] - predicted["all"][fold_of == 1]).max() > 0


def test_a_training_set_of_one_person_chooses_its_penalty_by_single_clips():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(20, 3))
    labels = x[:, :1].copy()
    fold_of = np.repeat([0, 1], 10)
    predicted = predict_folds({"text": x}, labels, np.ones((20, 1), bool), ["a"] * 10 + ["b"] * 10, fold_of)
    assert np.corrcoef(predicted["text"][:, 0], labels[:, 0])[0, 1] > 0.9


def test_constant_labels_have_a_score_of_0_without_an_interval():
    predictions, labels = np.random.default_rng(0).normal(size=(10, 2)), np.full((10, 2), 0.5)
    found = score_baseline(predictions, -predictions, labels, np.ones((10, 2), bool), None)
    unknown = {"pearson": 0.0, "interval": [None, None], "difference": 0.0, "difference_interval": [None, None]}
    assert json.loads(json.dumps(found, allow_nan=False)) == unknown


def test_the_difference_is_paired_and_a_models_to_itself_is_0():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(60, 2))
    good, bad = labels + rng.normal(size=(60, 2)), labels + 3 * rng.normal(size=(60, 2))
    known, groups = np.ones((60, 2), bool), [f"s{row % 20}" for row in range(60)]
    same = score_baseline(good, good, labels, known, groups)
    assert (same["difference"], same["difference_interval"]) == (0, [0, 0])
    ahead, behind = score_baseline(bad, good, labels, known, groups), score_baseline(good, bad, labels, known, groups)
    low, high = ahead["difference_interval"]
    assert 0 < low < ahead["difference"] < high
    assert ahead["difference"] == pytest.approx(-behind["difference"])
    assert behind["difference_interval"] == pytest.approx([-high, -low])
