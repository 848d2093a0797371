"""The linear baseline of a cross-validation: ridges on the statistics of the same features, in the same folds."""

import logging
from typing import Any

import numpy as np

from emi_jax.inputs.features import CLEAN
from emi_jax.inputs.folds import subject_folds
from emi_jax.metrics.ridge import best_penalty, by_penalty
from emi_jax.runs.baseline import (
    changing,
    is_quick,
    labels_of,
    score_baseline,
    standardised_over,
    statistics,
    subjects_of,
)
from emi_jax.runs.checks import OFF
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import cached_clips
from emi_jax.runs.scores import units

INNER_FOLDS = 5
"""Folds over the subjects that a ridge is fitted on, by which its penalty is chosen."""

log = logging.getLogger(__name__)


def out_of_fold_baseline(experiment: Experiment, fold_of: np.ndarray, own: np.ndarray) -> dict[str, Any] | None:
    """Scores predictions of each fold by ridges that are fitted, and whose penalties are chosen, on the other folds.

    Args:
        experiment: a run of stage 2 whose features are cached and whose training split holds all clips.
        fold_of: int [n], the fold of each of them.
        own: [n, K], the models' predictions for them.

    Returns:
        As from `linear_baseline`, without penalties, of which each fold has its own; None for the same reasons.
    """
    if experiment.config.baseline == OFF or changing(experiment):
        return None
    clips = cached_clips(experiment, "train", {CLEAN: experiment.transform})
    if not is_quick(experiment, {"train": clips}):
        return None
    labels, known = labels_of(clips)  # reading these keeps the statistics
    if not all((known.all(1) & (fold_of != fold)).any() for fold in np.unique(fold_of)):
        log.info("linear baseline: left out, since no clip outside of some fold has all its labels")
        return None
    subjects = subjects_of(experiment, "train")
    predicted = predict_folds(statistics(experiment, "train", clips), labels, known, subjects, fold_of)
    groups, _, _ = units(subjects)
    rows = {name: score_baseline(values, own, labels, known, groups) for name, values in predicted.items()}
    return {"standardised": standardised_over(experiment), "rows": rows}


def predict_folds(
    parts: dict[str, np.ndarray], labels: np.ndarray, known: np.ndarray, subjects: list[str], fold_of: np.ndarray
) -> dict[str, np.ndarray]:
    """Predictions [n, K] out of fold by modality, and `ridge.ALL` for the sum of several.

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
        fitted = by_penalty(_rows(parts, train), labels[train], _rows(parts, held_out))
        for name, predicted in fitted.items():
            penalty = best_penalty(validated[name], labels[train], known[train])
            found.setdefault(name, np.zeros(labels.shape))[held_out] = predicted[penalty]
    return found


def _validated(
    parts: dict[str, np.ndarray], labels: np.ndarray, rows: np.ndarray, subjects: list[str]
) -> dict[str, dict[float, np.ndarray]]:
    """Predictions of rows by ridges fitted on other rows of them, in folds over their subjects."""
    groups = subjects if len(set(subjects)) > 1 else [""] * len(rows)  # of one person single clips are left out
    inner = subject_folds(groups, labels[rows], INNER_FOLDS)
    found: dict[str, dict[float, np.ndarray]] = {}
    for fold in np.unique(inner):
        train, held_out = rows[inner != fold], rows[inner == fold]
        for name, predicted in by_penalty(_rows(parts, train), labels[train], _rows(parts, held_out)).items():
            for penalty, values in predicted.items():
                whole = found.setdefault(name, {}).setdefault(penalty, np.zeros((len(rows), labels.shape[1])))
                whole[inner == fold] = values
    return found


def _rows(parts: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    return {name: x[rows] for name, x in parts.items()}
