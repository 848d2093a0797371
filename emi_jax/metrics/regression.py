"""The metrics of a whole split, in NumPy float64 on the host.

Every function takes predictions [n, K], labels [n, K] and a mask, bool [n, K], of the known labels (by default those
that are not NaN), and returns one number per label, NaN where it is undefined.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

ROUNDING = 1e-6
"""A float32 model with a constant output still varies by this fraction from one batch shape to another."""


def pearson(pred: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Pearson's correlation over the split: 0 for a constant prediction, NaN for a constant or unknown label."""

    def correlation(p: Floats, y: Floats) -> float:
        if not np.ptp(y):
            return np.nan
        if np.ptp(p) <= ROUNDING * np.abs(p).max():
            return 0.0
        # Scaled to the range so that no square underflows.
        p, y = (p - p.mean()) / np.ptp(p), (y - y.mean()) / np.ptp(y)
        return float(p @ y / np.sqrt((p @ p) * (y @ y)))

    return _each_label(correlation, pred, labels, mask)


def ccc(pred: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Lin's concordance correlation (population moments): 0 for a constant prediction, NaN for a constant label."""

    def concordance(p: Floats, y: Floats) -> float:
        if not np.ptp(y):
            return np.nan
        covariance = ((p - p.mean()) * (y - y.mean())).mean()
        return float(2 * covariance / (p.var() + y.var() + (p.mean() - y.mean()) ** 2))

    return _each_label(concordance, pred, labels, mask)


def mse(pred: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None) -> Floats:
    """Mean squared error over the known entries, NaN for an unknown label."""
    return _each_label(lambda p, y: float(np.square(p - y).mean()), pred, labels, mask)


def mean(values: Floats) -> float:
    """The mean over the labels where a metric is defined; 0 where it is for none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _each_label(
    metric: Callable[[Floats, Floats], float], pred: ArrayLike, labels: ArrayLike, mask: ArrayLike | None
) -> Floats:
    pred, labels = np.asarray(pred, np.float64), np.asarray(labels, np.float64)
    known = ~np.isnan(labels) if mask is None else np.asarray(mask, bool)
    if pred.ndim != 2 or not pred.shape == labels.shape == known.shape:
        raise ValueError(
            f"Predictions {pred.shape}, labels {labels.shape} and mask {known.shape} must have one shape [n, K]."
        )
    for name, values in (("predictions", pred), ("labels", labels)):
        bad = np.argwhere(known & ~np.isfinite(values))
        if len(bad):
            raise ValueError(
                f"{len(bad)} known entries have {name} that are not finite, the first at row {bad[0][0]}, column "
                f"{bad[0][1]}: mask unknown labels, and look for a diverged model."
            )
    columns = zip(pred.T, labels.T, known.T, strict=True)
    return np.array([metric(p[m], y[m]) if m.any() else np.nan for p, y, m in columns])
