"""Folds keep people together and hold about the same label mass."""

import numpy as np
import pytest

from emi_jax.inputs.folds import subject_folds


def people(count=30, seed=0):
    """Subjects with 3 to 12 clips; the labels of every third are twenty times those of the others."""
    rng = np.random.default_rng(seed)
    subjects = [f"s{person:02d}" for person in range(count) for _ in range(rng.integers(3, 13))]
    strong = np.array([int(name[1:]) % 3 == 0 for name in subjects])
    return subjects, rng.random((len(subjects), 6)) * np.where(strong, 1.0, 0.05)[:, None]


@pytest.mark.parametrize("seed", range(5))
def test_a_subject_is_in_one_fold_and_folds_hold_even_masses(seed):
    subjects, labels = people(seed=seed)
    folds = subject_folds(subjects, labels, 5, seed)
    assert set(folds) == set(range(5))
    assert all(len({fold for name, fold in zip(subjects, folds, strict=True) if name == who}) == 1 for who in subjects)
    clips = np.bincount(folds) / len(folds)
    mass = np.array([labels[folds == fold].sum(0) for fold in range(5)]) / labels.sum(0)
    assert np.abs(clips - 0.2).max() < 0.03
    assert np.abs(mass - 0.2).max() < 0.08


def test_as_many_folds_as_subjects_leave_one_subject_out():
    folds = subject_folds(["b", "a", "b", "c"], np.ones((4, 2)), 9)
    assert folds.tolist() == [0, 1, 0, 2]


def test_a_clip_without_a_subject_counts_as_a_person_and_unknown_labels_have_no_mass():
    labels = np.full((8, 2), np.nan)
    folds = subject_folds([""] * 8, labels, 4)
    assert np.bincount(folds).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize(("subjects", "count"), [(["a", "b"], 1), (["a", "a"], 5)])
def test_fewer_than_two_folds_or_subjects_are_refused(subjects, count):
    with pytest.raises(ValueError, match="expected at least two of both"):
        subject_folds(subjects, np.ones((2, 1)), count)
