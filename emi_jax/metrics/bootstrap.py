"""Bootstrap intervals of a split's metrics: whole subjects are resampled if known, otherwise single clips.

Clips of one person resemble each other, so an interval over single clips would be too narrow for unseen people.
Every metric here is a function of six sums over clips. A resample weights each group's sums by how often it was drawn,
so all resamples are computed by one matrix product.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emi_jax.metrics import regression

Floats = NDArray[np.float64]
METRICS = ("pearson", "ccc", "mse")
# Variances this far below the split's are rounding errors of a constant column.
_ROUNDING = 1e-12


def intervals(
    pred: ArrayLike,
    labels: ArrayLike,
    mask: ArrayLike,
    groups: Sequence[str] | NDArray | None = None,
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Floats]:
    """Percentile intervals (Efron & Tibshirani 1993, 13.3) of each label's metrics and of their means over labels.

    Args:
        pred: [n, K].
        labels: [n, K]; arbitrary values where the mask is False.
        mask: bool [n, K], the known labels.
        groups: [n], equal for clips that are drawn together; None draws each clip separately.
        resamples: number of resamples.
        level: fraction of the resamples inside an interval.
        seed: seed of the draws.

    Returns:
        {metric: [K + 1, 2]}, lower and upper ends, the last row for the mean; NaN where a metric is never defined.
    """
    tails = (1 - level) / 2, (1 + level) / 2
    drawn = resampled(pred, labels, mask, groups, resamples=resamples, seed=seed)
    return {name: np.array([quantiles(column, tails) for column in values.T]) for name, values in drawn.items()}


def resampled(
    pred: ArrayLike,
    labels: ArrayLike,
    mask: ArrayLike,
    groups: Sequence[str] | NDArray | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Floats]:
    """Each label's metrics and their means over labels in each resample.

    With the same groups and seed the same groups are drawn, so that differences between two models are paired.

    Args:
        pred: as the others, as for `intervals`.
        labels: [n, K].
        mask: bool [n, K].
        groups: [n], or None.
        resamples: R.
        seed: seed of the draws.

    Returns:
        {metric: [R, K + 1]}, the last column for the mean; NaN where a metric is undefined.
    """
    sums, shift = group_sums(pred, labels, mask, groups)
    found = from_sums(np.tensordot(draws(len(sums), resamples, seed), sums, 1), shift)
    return {name: with_mean(values) for name, values in found.items()}


def differences(
    pred: ArrayLike,
    other: ArrayLike,
    labels: ArrayLike,
    mask: ArrayLike,
    groups: Sequence[str] | NDArray | None = None,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Floats]:
    """Paired 95% percentile intervals: of the metrics of one model minus those of another on the same resamples.

    Args:
        pred: [n, K].
        other: [n, K], the predictions of the other model for the same clips.
        labels: [n, K]; this and what follows as for `intervals`.
        mask: bool [n, K].
        groups: [n], or None.
        resamples: number of resamples.
        seed: seed of the draws.

    Returns:
        {metric: [K + 1, 2]} as from `intervals`.
    """
    one, two = (resampled(x, labels, mask, groups, resamples=resamples, seed=seed) for x in (pred, other))
    return {name: np.array([quantiles(column) for column in (one[name] - two[name]).T]) for name in METRICS}


def draws(count: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each of `count` groups is drawn in each resample, [R, count]; the same for the same seed."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)


def with_mean(values: Floats) -> Floats:
    """Values [R, K] with their mean over the labels where they are defined as a further column, [R, K + 1]."""
    defined = ~np.isnan(values)
    means = np.where(defined, values, 0).sum(1) / np.maximum(defined.sum(1), 1)
    return np.column_stack([values, np.where(defined.any(1), means, np.nan)])


def group_sums(
    pred: ArrayLike, labels: ArrayLike, mask: ArrayLike, groups: Sequence[str] | NDArray | None
) -> tuple[Floats, Floats]:
    """Each group's sums of 1, p, y, p^2, y^2 and p y over its known entries, [G, 6, K], and the shift [K].

    Both columns are centred first, so that no variance is lost to rounding; the shift is what centring subtracted
    from p - y.
    """
    known = np.asarray(mask, bool)
    pred = _levelled(pred, known)
    (p, p_means), (y, y_means) = (centred(x, known) for x in (pred, labels))
    terms = np.stack([known.astype(np.float64), p, y, p * p, y * y, p * y], axis=1)
    if groups is None:
        return terms, p_means - y_means
    _, places = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((int(places.max()) + 1, *terms.shape[1:]))
    np.add.at(sums, places, terms)
    return sums, p_means - y_means


def paired_sums(
    pred: ArrayLike,
    other: ArrayLike,
    labels: ArrayLike,
    mask: ArrayLike,
    groups: Sequence[str] | NDArray | None,
) -> tuple[Floats, Floats]:
    """The sums of `group_sums` of two models on the same clips, [2, G, 6, K], and their common shift [K]."""
    known = np.asarray(mask, bool)
    places = np.arange(len(known))
    if groups is not None:
        _, places = np.unique(np.asarray(groups), return_inverse=True)
    count = int(places.max()) + 1
    both = np.concatenate([_levelled(x, known) for x in (pred, other)])
    twice, known_twice = (np.concatenate([np.asarray(x)] * 2) for x in (labels, known))
    sums, shift = group_sums(both, twice, known_twice, np.concatenate([places, places + count]))
    return sums.reshape(2, count, *sums.shape[1:]), shift


def from_sums(sums: Floats, shift: Floats) -> dict[str, Floats]:
    """The metrics as in `emi_jax.metrics.regression`, {metric: [R, K]}, from sums [R, 6, K] of `group_sums`."""
    count = np.where(sums[:, 0] > 0, sums[:, 0], np.nan)
    p, y, pp, yy, py = np.moveaxis(sums[:, 1:] / count[:, None, :], 1, 0)
    p_variance, y_variance, covariance = pp - p * p, yy - y * y, py - p * y
    gap = p - y + shift[None, :]
    floors = [_ROUNDING * np.nan_to_num(x).max(initial=0) for x in (pp, yy)]
    varies, defined = p_variance > floors[0], y_variance > floors[1]
    spread = np.sqrt(np.where(varies & defined, p_variance * y_variance, 1))
    return {
        "pearson": np.where(defined, np.where(varies, covariance, 0) / spread, np.nan),
        "ccc": np.where(defined, 2 * covariance / np.where(defined, p_variance + y_variance + gap**2, 1), np.nan),
        "mse": p_variance + y_variance - 2 * covariance + gap**2,
    }


def quantiles(values: Floats, levels: tuple[float, float] = (0.025, 0.975)) -> Floats:
    """The quantiles of the defined values; NaN if there are none. The levels are those of a 95% interval."""
    known = values[~np.isnan(values)]
    return np.quantile(known, levels) if len(known) else np.full(2, np.nan)


def centred(values: ArrayLike, known: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Values [n, K] minus the means of their known entries, 0 where unknown; and these means [K]."""
    kept = np.where(known, np.asarray(values, np.float64), 0)
    means = kept.sum(0) / np.maximum(known.sum(0), 1)
    return np.where(known, kept - means[None, :], 0), means


def _levelled(pred: ArrayLike, known: NDArray[np.bool_]) -> Floats:
    """Predictions [n, K] in which columns that are constant up to a float32 model's rounding are constant."""
    pred = np.asarray(pred, np.float64)
    apart, means = centred(pred, known)
    constant = np.abs(apart).max(0) <= regression.ROUNDING * np.abs(means)
    return np.where(constant[None, :], means[None, :], pred)
