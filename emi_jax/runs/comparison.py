"""Compares two models on the same clips: paired intervals and p-values of the differences between their scores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emi_jax.metrics import bootstrap, regression
from emi_jax.metrics.significance import holm, swap_test
from emi_jax.runs.scores import Outputs, Results, for_json, units
from emi_jax.runs.stored import use_of_split


def compare(
    outputs: Outputs, source: Path, other: np.ndarray, names: Sequence[str], subjects: Sequence[str], split: str
) -> Results:
    """The differences between the Pearson correlations of two models, this one minus the other.

    Args:
        outputs: `predictions`, `labels`, `label_mask` [n, K] of this one.
        source: the origin of the other one's predictions, the folder of a run or a CSV.
        other: [n, K], its predictions for the same clips.
        names: the K label names.
        subjects: [n], the person in each clip; resampled and exchanged whole where `measure` resamples subjects.
        split: name of the split.

    Returns:
        For JSON: `other`, its origin, with what `use_of_split` says of it; `resampled`; `labels` {name: row} and
        `mean` row. A row holds `pearson` and `other_pearson`, their `difference` with its 95% `interval` (paired
        bootstrap) and its `p` (paired permutation test); of a label also `p_holm`, corrected for K comparisons.
    """
    groups, unit, _ = units(subjects)
    labels, mask = outputs["labels"], outputs["label_mask"]
    own, others = (
        bootstrap.with_mean(regression.pearson(x, labels, mask)[None])[0] for x in (outputs["predictions"], other)
    )
    arrays = outputs["predictions"], other, labels, mask, groups
    ends, p = bootstrap.differences(*arrays)["pearson"], swap_test(*arrays)
    fields = ("pearson", "other_pearson", "difference", "interval", "p")
    rows = [
        dict(zip(fields, map(for_json, values), strict=True))
        for values in zip(own, others, own - others, ends, p, strict=True)
    ]
    for row, corrected in zip(rows, holm(p[:-1]), strict=False):
        row["p_holm"] = for_json(corrected)
    return {
        "other": str(source),
        **(use_of_split(source, split) or {}),
        "resampled": unit,
        "labels": dict(zip(names, rows, strict=False)),
        "mean": rows[-1],
    }
