"""The scores of a cross-validation: pooled, of each subject, by epoch, and of the ridge baseline in the same folds."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emi_jax.files import write_json
from emi_jax.inputs.dataset import Dataset
from emi_jax.metrics import bootstrap, regression
from emi_jax.modalities import MODALITIES
from emi_jax.report import score_tables, tables
from emi_jax.report.tables import Table
from emi_jax.runs.results import Outputs, Results, Summary, measure

FEWEST_CLIPS = 3
"""A correlation over fewer clips of a person is always 1, -1 or undefined."""
RESAMPLES = 2000


def write(
    folder: Path,
    dataset: Dataset,
    outputs: Outputs,
    ids: Sequence[str],
    subjects: Sequence[str],
    fold_of: np.ndarray,
    curves: Sequence[Mapping[float, float]],
    baseline: Mapping[str, np.ndarray] | None,
    written: Sequence[Path],
) -> Summary:
    """Writes `metrics_out_of_fold.json`, `subjects.csv` and `folds.csv`.

    Args:
        folder: of the cross-validation.
        dataset: the dataset.
        outputs: as for `measure`, of all n clips.
        ids: [n] of the clips.
        subjects: [n], "" where unknown.
        fold_of: int [n].
        curves: {epoch: score on the held-out clips} of each fold.
        baseline: {modality or "all": predictions [n, K] out of fold}, or None.
        written: the files written before.
    """
    used = [name for place, name in enumerate(MODALITIES) if outputs["present"][:, place].any()]
    results = measure(outputs, dataset.label_names, subjects, {}, used)
    found = score_tables.intensity_tables(results, f"held-out clips of {int(fold_of.max()) + 1} folds")
    people = by_subject(outputs, subjects)
    if people:
        results["subjects_pearson"] = spread([row["pearson"] for row in people.values()])
        found.append(_subject_table(results["subjects_pearson"]))
    if baseline:
        results["baseline"] = _baseline(baseline, outputs, subjects if results["subjects"] > 1 else None)
        found.append(_baseline_table(results))
    results["epochs"] = mean_curve(curves)
    text = "\n\n".join([score_tables.text_of(found), *score_tables.meaning(results, ""), *_epochs(results["epochs"])])
    path = folder / "metrics_out_of_fold.json"
    write_json(path, results | {"table": text})
    rows = [[who, row["clips"], row["pearson"], row["mse"]] for who, row in people.items()]
    files = [
        path,
        _write_csv(folder / "subjects.csv", ["Subject", "clips", "pearson", "mse"], rows),
        _write_csv(folder / "folds.csv", ["Filename", "Subject", "fold"], zip(ids, subjects, fold_of, strict=True)),
    ]
    return Summary(text, [*written, *files], f"mean pearson {results['mean']['pearson'] or 0.0:.3f}")


def by_subject(outputs: Outputs, subjects: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each known subject the number of clips, and Pearson and MSE, means over the labels where they are defined.

    Pearson is None with fewer than `FEWEST_CLIPS` clips, or where none is defined.
    """
    rows = {}
    who = np.array(subjects)
    for name in sorted(set(subjects) - {""}):
        arrays = [outputs[key][who == name] for key in ("predictions", "labels", "label_mask")]
        correlations = regression.pearson(*arrays)
        defined = correlations[np.isfinite(correlations)]
        errors = regression.mse(*arrays)
        known = len(defined) and len(arrays[0]) >= FEWEST_CLIPS
        rows[name] = {
            "clips": len(arrays[0]),
            "pearson": float(defined.mean()) if known else None,
            "mse": float(np.nanmean(errors)) if np.isfinite(errors).any() else None,
        }
    return rows


def spread(values: Sequence[float | None], seed: int = 0) -> dict[str, Any]:
    """Mean over subjects with its 95% bootstrap interval, deviation, median and extremes of the known values."""
    known = np.array([value for value in values if value is not None])
    if not len(known):
        return {"subjects": 0}
    drawn = np.random.default_rng(seed).choice(known, (RESAMPLES, len(known))).mean(1)
    return {
        "subjects": len(known),
        "mean": float(known.mean()),
        "interval": np.quantile(drawn, [0.025, 0.975]).tolist(),
        "deviation": float(known.std(ddof=1)) if len(known) > 1 else None,
        "lowest": float(known.min()),
        "median": float(np.median(known)),
        "highest": float(known.max()),
    }


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


def _subject_table(found: Results) -> Table:
    header = ["", "subjects", "mean", "95% interval", "deviation", "lowest", "median", "highest"]
    caption = f"Pearson within each subject, with {FEWEST_CLIPS} clips or more, mean over labels"
    if not found["subjects"]:
        return Table(caption, header[:2], [["this model", 0]])
    values = [found[name] for name in ("deviation", "lowest", "median", "highest")]
    row = ["this model", found["subjects"], found["mean"], tables.interval(found["interval"]), *values]
    return Table(caption, header, [row])


def _baseline(baseline: Mapping[str, np.ndarray], outputs: Outputs, groups: Sequence[str] | None) -> Results:
    rows = {}
    for name, predictions in baseline.items():
        arrays = predictions, outputs["labels"], outputs["label_mask"]
        ends = bootstrap.intervals(*arrays, groups)["pearson"][-1]
        rows[name] = {"pearson": float(np.nanmean(regression.pearson(*arrays))), "interval": ends.tolist()}
    return rows


def _baseline_table(results: Results) -> Table:
    rows: list[list[tables.Cell]] = [
        [f"ridge, {name}", row["pearson"], tables.interval(row["interval"])]
        for name, row in results["baseline"].items()
    ]
    mean = results["mean"]
    model: list[tables.Cell] = ["this model", mean["pearson"], tables.interval(mean["pearson_interval"])]
    caption = (
        "linear baseline: ridge on statistics of the features in the same folds; penalty chosen on the other folds"
    )
    return Table(caption, ["", "mean Pearson", "95% interval"], [model, *rows])


def _write_csv(path: Path, header: Sequence[str], rows: Any) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path
