"""Calibration: whether clips that are predicted alike have labels of that mean.

Pearson's correlation ignores the scale of the predictions; what uses the intensities themselves does not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emi_jax.metrics import bootstrap, regression

Floats = NDArray[np.float64]

BINS, FEWEST_CLIPS = 10, 10
"""The most bins, and the fewest clips for each of them."""
RESAMPLES = 2000


class Calibration(NamedTuple):
    """The calibration of one label.

    Attributes:
        prediction: [b], the mean prediction in each bin of about equally many clips, in increasing order.
        label: [b], the mean label of the same clips.
        interval: [b, 2], 95% bootstrap interval of the mean label; NaN where a single group has all clips of a bin.
        clips: int [b].
        bias: the mean of prediction - label over all clips.
        slope: of the least-squares line label = slope * prediction + constant (Cox 1958): 1 is right, below 1 the
            predictions spread too far; NaN for constant predictions.
        error: the mean over clips of |mean prediction - mean label| in their bin.
    """

    prediction: Floats
    label: Floats
    interval: Floats
    clips: NDArray[np.int64]
    bias: float
    slope: float
    error: float


def calibration(
    pred: NDArray, labels: NDArray, known: NDArray, groups: Sequence[str] | None = None, seed: int = 0
) -> Calibration | None:
    """The calibration of one label's predictions; None without a known label.

    Args:
        pred: [n].
        labels: [n]; arbitrary values where unknown.
        known: bool [n].
        groups: [n], equal for clips that are resampled together; None resamples single clips.
        seed: seed of the resampling.
    """
    if not known.any():
        return None
    p, y = pred[known].astype(np.float64), labels[known].astype(np.float64)
    edges = np.quantile(p, np.linspace(0, 1, max(1, min(BINS, len(p) // FEWEST_CLIPS)) + 1)[1:-1])
    _, place = np.unique(np.searchsorted(np.unique(edges), p, side="right"), return_inverse=True)
    clips = np.bincount(place)
    prediction, label = (np.bincount(place, weights=values) / clips for values in (p, y))
    moments = np.cov(p, y, bias=True) if len(p) > 1 else np.zeros((2, 2))
    who = np.arange(len(p)) if groups is None else np.asarray(groups)[known]
    return Calibration(
        prediction,
        label,
        _intervals(y, place, who, seed),
        clips,
        float((p - y).mean()),
        float(moments[0, 1] / moments[0, 0]) if np.ptp(p) > regression.ROUNDING * np.abs(p).max() else float("nan"),
        float(np.abs(prediction - label) @ clips / len(p)),
    )


def _intervals(y: Floats, place: NDArray, groups: NDArray, seed: int) -> Floats:
    """Percentile intervals [b, 2] of the mean label of each bin, whole groups resampled."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.zeros((2, int(group.max()) + 1, int(place.max()) + 1))
    np.add.at(sums[0], (group, place), 1)
    np.add.at(sums[1], (group, place), y)
    drawn = bootstrap.draws(sums.shape[1], RESAMPLES, seed)
    count, total = drawn @ sums[0], drawn @ sums[1]
    means = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    alone = (sums[0] > 0).sum(0) < 2
    ends = np.array([bootstrap.quantiles(column) for column in means.T])
    return np.where(alone[:, None], np.nan, ends)
