"""Ridge regression in its dual form, for few clips with many features, and the choice of its penalty."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy

from emi_jax.metrics import regression

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Penalties to choose from, relative to a kernel whose diagonal is about 1."""
ALL = "all"
"""Names the sum of the predictions from all modalities."""

ByPenalty = Mapping[float, np.ndarray]
"""Predictions [n, K] by penalty."""


def ridge(train: np.ndarray, labels: np.ndarray, others: Sequence[np.ndarray], penalty: float) -> list[np.ndarray]:
    """Predicts by kernel ridge regression with a linear kernel, k(a, b) = a . b / S (Hastie et al., ESL, 12.3.7).

    Args:
        train: [n, S], standardised.
        labels: [n, K].
        others: arrays [., S] to predict.
        penalty: added to the kernel's diagonal.

    Returns:
        Predictions [., K] for each of `others`.
    """
    centre = labels.mean(axis=0)
    kernel = train @ train.T / train.shape[1]
    kernel[np.diag_indices_from(kernel)] += penalty
    weights = scipy.linalg.solve(kernel, labels - centre, assume_a="pos")
    return [centre + (x @ train.T / train.shape[1]) @ weights for x in others]


def by_penalty(
    train: Mapping[str, np.ndarray], labels: np.ndarray, others: Mapping[str, np.ndarray]
) -> dict[str, ByPenalty]:
    """Predicts by one ridge for each modality and each of `PENALTIES`.

    Args:
        train: {modality: statistics [n, S]}, which are standardised by their own moments.
        labels: [n, K], all known.
        others: {modality: statistics [m, S]} of the clips to predict.

    Returns:
        Predictions [m, K] by modality and, where there are several, of `ALL`; each by penalty.
    """
    found: dict[str, ByPenalty] = {}
    for name, x in train.items():
        mean, deviation = column_moments(x)
        fitted, wanted = (x - mean) / deviation, (others[name] - mean) / deviation
        found[name] = {penalty: ridge(fitted, labels, [wanted], penalty)[0] for penalty in PENALTIES}
    if len(train) > 1:
        found[ALL] = {penalty: np.sum([found[name][penalty] for name in train], axis=0) for penalty in PENALTIES}
    return found


def best_penalty(predicted: ByPenalty, labels: np.ndarray, known: np.ndarray) -> float:
    """The penalty whose predictions [n, K] have the highest mean Pearson correlation with labels that were not fitted.

    The first of several that are equally good.
    """
    scores = {penalty: mean_pearson(values, labels, known) for penalty, values in predicted.items()}
    return max(scores, key=scores.__getitem__)


def mean_pearson(predictions: np.ndarray, labels: np.ndarray, known: np.ndarray) -> float:
    """Pearson's correlation, the mean over the labels [n, K] where it is defined; 0 where none is."""
    return regression.mean(regression.pearson(predictions, labels, known))


def column_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of columns; 1 for a column that is constant."""
    deviation = x.std(axis=0)
    return x.mean(axis=0), np.where(deviation > 1e-6, deviation, 1)
