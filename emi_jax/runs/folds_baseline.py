"""The linear bar of a cross-validation: ridges on the statistics of the same features, in the same folds."""

import numpy as np

from emi_jax.inputs.dataset import subject
from emi_jax.inputs.features import CLEAN
from emi_jax.inputs.folds import subject_folds
from emi_jax.metrics.ridge import PENALTIES, ridge
from emi_jax.runs.baseline import changing, column_moments, is_quick, labels_of, mean_pearson, statistics
from emi_jax.runs.checks import OFF
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import cached_clips

INNER_FOLDS = 5
"""Folds over the subjects that a ridge is fitted on, by which its penalty is chosen."""

Predictions = dict[str, dict[float, np.ndarray]]
"""By modality or "all", and by penalty."""


def out_of_fold_baseline(experiment: Experiment, fold_of: np.ndarray) -> dict[str, np.ndarray] | None:
    """Predicts each fold by ridges that are fitted, and whose penalties are chosen, on the other folds alone.

    Args:
        experiment: a run of stage 2 whose features are cached and whose training split holds all clips.
        fold_of: int [n], the fold of each of them.

    Returns:
        {modality or "all": predictions [n, K]}; None where training changes the features, where it takes too long, or
        where the config switches it off.
    """
    if experiment.config.baseline == OFF or changing(experiment):
        return None
    clips = cached_clips(experiment, "train", {CLEAN: experiment.transform})
    if not is_quick(experiment, {"train": clips}):
        return None
    labels, known = labels_of(clips)  # reading these keeps the statistics
    parts = dict(zip(experiment.transform.shape.modalities, statistics(experiment, "train", clips), strict=True))
    texts = experiment.dataset.texts("train")
    subjects = [subject(texts[row]) for row in range(len(texts))]
    return predict_folds(parts, labels, known, subjects, fold_of)


def predict_folds(
    parts: dict[str, np.ndarray], labels: np.ndarray, known: np.ndarray, subjects: list[str], fold_of: np.ndarray
) -> dict[str, np.ndarray]:
    """Predictions [n, K] out of fold by modality, and "all" for the sum of several.

    Args:
        parts: {modality: statistics [n, S]}.
        labels: [n, K].
        known: bool [n, K]; clips with an unknown label are predicted but not fitted on.
        subjects: [n], "" where unknown.
        fold_of: int [n].
    """
    found: dict[str, np.ndarray] = {}
    for fold in np.unique(fold_of):
        train, held_out = np.flatnonzero((fold_of != fold) & known.all(1)), np.flatnonzero(fold_of == fold)
        validated = _validated(parts, labels, train, [subjects[row] for row in train])
        for name, predicted in _by_penalty(parts, labels, train, held_out).items():
            scores = {p: mean_pearson(x, labels[train], known[train]) for p, x in validated[name].items()}
            best = max(scores, key=scores.__getitem__)
            found.setdefault(name, np.zeros(labels.shape))[held_out] = predicted[best]
    return found


def _validated(parts: dict[str, np.ndarray], labels: np.ndarray, rows: np.ndarray, subjects: list[str]) -> Predictions:
    """Predictions of rows by ridges fitted on other rows of them, in folds over their subjects."""
    groups = subjects if len(set(subjects)) > 1 else [""] * len(rows)  # of one person single clips are left out
    inner = subject_folds(groups, labels[rows], INNER_FOLDS)
    found: Predictions = {}
    for fold in np.unique(inner):
        for name, predicted in _by_penalty(parts, labels, rows[inner != fold], rows[inner == fold]).items():
            for penalty, values in predicted.items():
                whole = found.setdefault(name, {}).setdefault(penalty, np.zeros((len(rows), labels.shape[1])))
                whole[inner == fold] = values
    return found


def _by_penalty(parts: dict[str, np.ndarray], labels: np.ndarray, train: np.ndarray, wanted: np.ndarray) -> Predictions:
    """Predictions of the wanted rows by ridges on training rows, over which the statistics are standardised."""
    found: Predictions = {}
    for name, x in parts.items():
        mean, deviation = column_moments(x[train])
        fitted, others = (x[train] - mean) / deviation, (x[wanted] - mean) / deviation
        found[name] = {penalty: ridge(fitted, labels[train], [others], penalty)[0] for penalty in PENALTIES}
    if len(parts) > 1:
        found["all"] = {penalty: np.sum([found[name][penalty] for name in parts], axis=0) for penalty in PENALTIES}
    return found
