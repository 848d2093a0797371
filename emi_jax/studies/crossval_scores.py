"""The scores of a cross-validation: pooled, of each subject, by epoch, and of the ridge baseline in the same folds."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from emi_jax.files import write_json
from emi_jax.inputs.dataset import Dataset
from emi_jax.modalities import MODALITIES
from emi_jax.report import score_tables
from emi_jax.runs.drawings import draw_scores
from emi_jax.runs.results import Summary
from emi_jax.runs.scores import Outputs, Results, measure, score_subjects, write_subjects
from emi_jax.runs.submission import write_predictions

OUT_OF_FOLD = "out_of_fold"
"""Stands for the name of a split in the names of files."""


def write(
    folder: Path,
    dataset: Dataset,
    outputs: Outputs,
    ids: Sequence[str],
    subjects: Sequence[str],
    seconds: Sequence[float],
    fold_of: np.ndarray,
    curves: Sequence[Mapping[float, float]],
    baseline: Results | None,
) -> Summary:
    """Writes `metrics_out_of_fold.json`, `predictions_out_of_fold.csv`, `subjects.csv`, `folds.csv` and the figures.

    Args:
        folder: of the cross-validation.
        dataset: the dataset.
        outputs: as for `measure`, of all n clips.
        ids: [n] of the clips.
        subjects: [n], "" where unknown.
        seconds: [n], the lengths of the clips.
        fold_of: int [n].
        curves: {epoch: score on the held-out clips} of each fold.
        baseline: of `out_of_fold_baseline`.
    """
    names, label_range = dataset.label_names, dataset.label_range
    used = [name for place, name in enumerate(MODALITIES) if outputs["present"][:, place].any()]
    results = measure(outputs, names, subjects, {}, used, seconds) | {"baseline": baseline}
    results["epochs"] = mean_curve(curves)
    found = score_tables.intensity_tables(results, f"held-out clips of {int(fold_of.max()) + 1} folds")
    text = "\n\n".join([score_tables.text_of(found), *score_tables.meaning(results, ""), *_epochs(results["epochs"])])
    path = folder / f"metrics_{OUT_OF_FOLD}.json"
    write_json(path, results | {"table": text})
    files = [
        write_predictions(folder / f"predictions_{OUT_OF_FOLD}.csv", ids, outputs["predictions"], names, label_range),
        path,
        write_subjects(folder / "subjects.csv", score_subjects(outputs, subjects), names),
        _write_csv(folder / "folds.csv", ["Filename", "Subject", "fold"], zip(ids, subjects, fold_of, strict=True)),
        *draw_scores(folder / "figures", OUT_OF_FOLD, outputs, results, subjects, label_range),
    ]
    return Summary(text, files, f"mean pearson {results['mean']['pearson'] or 0.0:.3f}")


def mean_curve(curves: Sequence[Mapping[float, float]]) -> dict[str, float]:
    """{epoch: mean over folds of the score on the held-out clips}, of the epochs that all folds have."""
    common = set(curves[0]).intersection(*curves)
    return {f"{epoch:g}": float(np.mean([curve[epoch] for curve in curves])) for epoch in sorted(common)}


def _epochs(curve: Mapping[str, float]) -> list[str]:
    if not curve:
        return []
    best, last = max(curve, key=curve.__getitem__), list(curve)[-1]
    return [
        f"Epochs: the mean score of single folds is {curve[last]:.3f} after the last epoch, {last}, and highest, "
        f"{curve[best]:.3f}, after {best}. The highest is a hint for another run, not a result."
    ]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path
