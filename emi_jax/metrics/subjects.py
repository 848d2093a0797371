"""Scores of single subjects, and how they spread.

A correlation over all clips mixes two abilities: to rank the people, and to rank the clips of one person. Within a
subject only the second counts; between the subjects' means only the first.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emi_jax.metrics import bootstrap, regression

Floats = NDArray[np.float64]

FEWEST_CLIPS = 3
"""A correlation over fewer clips of a person is always 1, -1 or undefined."""
FEWEST_SUBJECTS = 3
"""The same for a correlation between the means of people."""
RESAMPLES = 2000


class SubjectScores(NamedTuple):
    """The scores of G subjects, sorted by name; NaN where a number is undefined.

    Attributes:
        names: their names.
        clips: int [G], how many clips each has.
        pearson: [G, K + 1], Pearson within the subject, where it has at least `FEWEST_CLIPS` clips with the label; the
            last column is the mean over the labels where it is defined.
        mse: [G, K + 1].
        between: Pearson between the subjects' mean predictions and mean labels, the mean over labels; NaN with fewer
            than `FEWEST_SUBJECTS` subjects.
    """

    names: list[str]
    clips: NDArray[np.int64]
    pearson: Floats
    mse: Floats
    between: float


def by_subject(pred: NDArray, labels: NDArray, mask: NDArray, subjects: Sequence[str]) -> SubjectScores:
    """Scores each known subject by its own clips.

    Args:
        pred: [n, K].
        labels: [n, K]; arbitrary values where the mask is False.
        mask: bool [n, K], the known labels.
        subjects: [n], "" where unknown; these clips take no part.
    """
    who = np.array(subjects, dtype=str)
    named = who != ""
    if not named.any():
        empty = np.zeros((0, pred.shape[1] + 1))
        return SubjectScores([], np.zeros(0, np.int64), empty, empty, float("nan"))
    names, clips = np.unique(who[named], return_counts=True)
    sums, shift = bootstrap.group_sums(pred[named], labels[named], mask[named], who[named])
    count = sums[:, 0]
    scores = bootstrap.from_sums(sums, shift)
    within = np.where(count >= FEWEST_CLIPS, scores["pearson"], np.nan)
    means = sums[:, 1:3] / np.maximum(count, 1)[:, None, :]
    enough = np.broadcast_to((count > 0).sum(0) >= FEWEST_SUBJECTS, count.shape)
    correlations = regression.pearson(means[:, 0], means[:, 1], (count > 0) & enough)
    between = correlations[np.isfinite(correlations)]
    return SubjectScores(
        names.tolist(),
        clips,
        bootstrap.with_mean(within),
        bootstrap.with_mean(scores["mse"]),
        float(between.mean()) if len(between) else float("nan"),
    )


def spread(values: Floats, seed: int = 0) -> dict[str, Any]:
    """How the scores of subjects spread.

    Args:
        values: [G], NaN where a subject has no score; these are left out.
        seed: seed of the resampling.

    Returns:
        `subjects`, how many have a score; and, if any has, their `mean` with its 95% bootstrap `interval` over
        subjects, standard `deviation` (both None for a single one), `lowest`, `median` and `highest`.
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return {"subjects": 0}
    drawn = bootstrap.draws(len(known), RESAMPLES, seed) @ known / len(known)
    return {
        "subjects": len(known),
        "mean": float(known.mean()),
        "interval": bootstrap.quantiles(drawn).tolist() if len(known) > 1 else [None, None],
        "deviation": float(known.std(ddof=1)) if len(known) > 1 else None,
        "lowest": float(known.min()),
        "median": float(np.median(known)),
        "highest": float(known.max()),
    }
