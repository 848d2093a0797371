"""Combines the predictions of several models, [M, n, K], into one, [n, K]."""

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def rank_mean(predictions: Floats) -> Floats:
    """The mean over models of each clip's rank among the n clips, by label; ties share their mean rank.

    Ranks are scaled to (0, 1): (rank - 1/2) / n, so that a model's scale and shape have no influence.
    """
    ranks = scipy.stats.rankdata(predictions, axis=1)
    return ((ranks - 0.5) / predictions.shape[1]).mean(0)


def fitted_weights(predictions: Floats, labels: Floats, known: NDArray[np.bool_]) -> Floats:
    """Weights [M] of models by non-negative least squares (Lawson & Hanson 1974, 23), scaled to the sum 1.

    Predictions and labels are centred for each label first, since Pearson's correlation ignores their means.

    Args:
        predictions: [M, n, K].
        labels: [n, K].
        known: bool [n, K], the labels that count.

    Raises:
        ValueError: no model goes along with the labels, so that all weights are 0.
    """
    count = np.maximum(known.sum(0), 1)
    y = np.where(known, labels, 0.0)
    y = np.where(known, y - y.sum(0) / count, 0.0)
    x = np.where(known, predictions, 0.0)
    x = np.where(known, x - x.sum(1, keepdims=True) / count, 0.0)
    weights, _ = scipy.optimize.nnls(x.reshape(len(x), -1).T, y.ravel())
    if not weights.sum():
        raise ValueError("no model's predictions go along with the labels")
    return weights / weights.sum()
