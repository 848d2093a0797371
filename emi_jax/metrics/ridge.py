"""Ridge regression, and the choice of its penalty."""

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


def ridge(
    train: np.ndarray, labels: np.ndarray, others: np.ndarray, penalties: Sequence[float] = PENALTIES
) -> ByPenalty:
    """Predicts by kernel ridge regression with a linear kernel, k(a, b) = a . b / S (Hastie et al., ESL, 12.3.7).

    The primal and the dual form predict the same; the one with fewer unknowns is solved.

    Args:
        train: [n, S], standardised.
        labels: [n, K].
        others: [m, S], to predict.
        penalties: each is added to the kernel's diagonal.
    """
    centre, size = labels.mean(axis=0), train.shape[1]
    x, read, target = train / np.sqrt(size), others / np.sqrt(size), labels - centre
    if len(x) > size:
        products, target = x.T @ x, x.T @ target
    else:
        products, read = x @ x.T, read @ x.T

    def weights(penalty: float) -> np.ndarray:
        return scipy.linalg.solve(products + penalty * np.eye(len(products)), target, assume_a="pos")

    return {penalty: centre + read @ weights(penalty) for penalty in penalties}


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
        found[name] = ridge(fitted, labels, wanted)
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
