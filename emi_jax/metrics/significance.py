"""Tests of differences: of two models on the same clips, of paired scores over seeds, and Holm's correction."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from emi_jax.metrics.bootstrap import centred, from_sums, paired_sums, with_mean
from emi_jax.metrics.regression import ROUNDING

Floats = NDArray[np.float64]

_ROWS = 1000
"""Permutations that are computed at a time."""
_TIE = 1e-12
"""Differences of correlations that are closer than this are equal up to rounding."""


def swap_test(
    pred: ArrayLike,
    other: ArrayLike,
    labels: ArrayLike,
    mask: ArrayLike,
    groups: Sequence[str] | NDArray | None = None,
    *,
    permutations: int = 10_000,
    seed: int = 0,
) -> Floats:
    """Two-sided p-values of the difference between two models' Pearson correlations (Good 2005, 3.2).

    If neither model is better, it does not matter which of the two has made which predictions. So the predictions of
    both are exchanged for a random half of the groups, again and again; the p-value is the share of these exchanges
    whose difference is at least as large as the measured one. Each model's predictions of a label are standardised
    first: Pearson ignores their mean and scale, which would make exchanged predictions differ for no reason. As the
    metric is a function of sums over clips, all exchanges are computed by one matrix product.

    Args:
        pred: [n, K].
        other: [n, K], the predictions of another model for the same clips.
        labels: [n, K]; arbitrary values where the mask is False.
        mask: bool [n, K], the known labels.
        groups: [n], equal for clips that are exchanged together (those of a subject); None exchanges single clips.
        permutations: the number of random exchanges, to which the measured order is added as one more (Phipson & Smyth
            2010). Where there are no more possible ones than that, 2^G, each is computed once: exact p-values.
        seed: seed of the exchanges.

    Returns:
        [K + 1], the last one for the mean over the labels; NaN where a correlation is undefined.
    """
    pred, other = (_standardised(x, np.asarray(mask, bool)) for x in (pred, other))
    sums, shift = paired_sums(pred, other, labels, mask, groups)
    count = sums.shape[1]
    total, apart = sums.sum(1), sums[1] - sums[0]

    def differences(swapped: NDArray) -> Floats:
        moved = np.tensordot(swapped, apart, 1)
        one, two = (from_sums(part, shift)["pearson"] for part in (total[:1] + moved, total[1:] - moved))
        return with_mean(one) - with_mean(two)

    exact = 2**count <= permutations
    measured = differences(np.zeros((1, count)))
    as_large = sum(
        (np.abs(differences(swapped)) >= np.abs(measured) - _TIE).sum(0)
        for swapped in (_every_exchange(count) if exact else _random_exchanges(count, permutations, seed))
    )
    shares = as_large / 2**count if exact else (as_large + 1) / (permutations + 1)
    return np.where(np.isnan(measured[0]), np.nan, shares)


def paired_t_test(scores: Floats, reference: Floats | None) -> dict[str, Any]:
    """Mean over seeds with Student's 95% interval, and the same for the paired differences to a reference.

    Args:
        scores: [S].
        reference: [S], scores with the same seeds; None if there is nothing to compare with.

    Returns:
        `pearson`, `interval`, `difference`, `difference_interval` and `p`, the two-sided p-value of a paired t-test;
        NaN where a number is undefined.
    """
    mean, ends = t_interval(scores)
    difference, apart, p = float("nan"), [float("nan")] * 2, float("nan")
    if reference is not None:
        differences = scores - reference
        difference, apart = t_interval(differences)
        if len(differences) > 1 and np.ptp(differences):
            p = float(scipy.stats.ttest_1samp(differences, 0).pvalue)
    return {"pearson": mean, "interval": ends, "difference": difference, "difference_interval": apart, "p": p}


def t_interval(values: Floats, level: float = 0.95) -> tuple[float, list[float]]:
    """Mean and its Student's t interval, from independent values [S]; the ends are NaN for a single value."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return mean, [float("nan")] * 2
    half = float(scipy.stats.t.ppf((1 + level) / 2, count - 1) * np.std(values, ddof=1) / np.sqrt(count))
    return mean, [mean - half, mean + half]


def holm(p_values: ArrayLike) -> Floats:
    """P-values [m] corrected for m comparisons by Holm's step-down method (1979); NaN takes no part and stays.

    The chance that any true null hypothesis is rejected at a level is at most that level.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)[: np.isfinite(p).sum()]  # NaN comes last
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected = np.full(p.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def _standardised(pred: ArrayLike, known: NDArray[np.bool_]) -> Floats:
    """Predictions [n, K] with mean 0 and deviation 1 over the known entries of each label; 0 where it is constant."""
    apart, means = centred(pred, known)
    deviations = np.sqrt(np.square(apart).sum(0) / np.maximum(known.sum(0), 1))
    constant = deviations <= ROUNDING * np.abs(means)
    return np.where(constant[None, :], 0, apart / np.where(constant, 1, deviations)[None, :])


def _every_exchange(count: int) -> Iterator[NDArray]:
    """All subsets of groups, bool [R, count] at a time."""
    for start in range(0, 2**count, _ROWS):
        codes = np.arange(start, min(start + _ROWS, 2**count))
        yield (codes[:, None] >> np.arange(count)[None, :]) & 1


def _random_exchanges(count: int, permutations: int, seed: int) -> Iterator[NDArray]:
    """Random subsets of groups, 0 or 1 [R, count] at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, permutations, _ROWS):
        yield rng.integers(0, 2, (min(_ROWS, permutations - start), count))
