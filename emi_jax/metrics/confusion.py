"""Confusion between intensities: which predictions follow which labels, and which errors go together."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROUNDING = 1e-12
"""A variance this far below the largest square is the rounding error of a constant column."""


def confusion(pred: NDArray, labels: NDArray, mask: NDArray) -> dict[str, Floats]:
    """Three matrices of Pearson correlations [K, K], NaN where a column is constant.

    Args:
        pred: [n, K].
        labels: [n, K]; arbitrary values where the mask is False.
        mask: bool [n, K], the known labels.

    Returns:
        `labels`: of each label with each label, which a perfect model would reproduce; `predictions`: of each
        prediction (rows) with each label (columns), whose diagonal is the score; `residuals`: of the errors, label -
        prediction, with each other.
    """
    every = np.ones_like(mask)
    return {
        "labels": correlations(labels, labels, mask, mask),
        "predictions": correlations(pred, labels, every, mask),
        "residuals": correlations(labels - pred, labels - pred, mask, mask),
    }


def correlations(x: NDArray, y: NDArray, x_known: NDArray, y_known: NDArray) -> Floats:
    """Pearson's correlation of each column of x [n, I] with each of y [n, J], over the rows where both are known."""
    (x, a), (y, b) = (_centred(values, known) for values, known in ((x, x_known), (y, y_known)))
    count = np.maximum(a.T @ b, 1)
    x_mean, y_mean = x.T @ b / count, a.T @ y / count
    covariance = x.T @ y / count - x_mean * y_mean
    x_square, y_square = (x * x).T @ b / count, a.T @ (y * y) / count
    x_variance, y_variance = x_square - x_mean**2, y_square - y_mean**2
    varies = (x_variance > _ROUNDING * x_square.max(initial=0)) & (y_variance > _ROUNDING * y_square.max(initial=0))
    spread = np.sqrt(np.where(varies, x_variance * y_variance, 1))
    return np.where(varies, covariance / spread, np.nan)


def _centred(values: NDArray, known: NDArray) -> tuple[Floats, Floats]:
    """Known entries minus their column's mean and 0 elsewhere; and the mask as numbers."""
    weights = np.asarray(known, np.float64)
    values = np.where(known, np.asarray(values, np.float64), 0)
    means = values.sum(0) / np.maximum(weights.sum(0), 1)
    return np.where(known, values - means[None, :], 0), weights
