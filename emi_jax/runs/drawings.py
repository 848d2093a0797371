"""Draws the scores of predictions on a split into the folder of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from emi_jax.report import diagnostics, figures, svg
from emi_jax.runs.scores import Outputs, score_subjects


def draw_scores(
    folder: Path,
    split: str,
    outputs: Outputs,
    results: Mapping[str, Any],
    subjects: Sequence[str],
    label_range: tuple[float, float],
) -> dict[Path, Figure]:
    """Writes the figures of a split, and removes those of an earlier evaluation that this one has not.

    Args:
        folder: of the figures.
        split: name of the split, which ends the name of each file.
        outputs: as for `measure`, and where the model has them `weights` [n, 3], which are drawn unless every clip
            weighs its modalities alike, as models without the Quality-Aware Module do.
        results: of `measure`, with `comparison` if there is one.
        subjects: [n], the person in each clip.
        label_range: lowest and highest label in the users' units.

    Returns:
        The figures by their files.
    """
    drawn: dict[str, Figure | None] = {
        "pearson": figures.pearson_bars(results),
        "comparison": diagnostics.comparison(results["comparison"]) if "comparison" in results else None,
        "predictions": figures.scatter(outputs, results, label_range),
        "calibration": diagnostics.calibration(results["calibration"], label_range),
        "confusion": diagnostics.confusion(results["confusion"], list(results["labels"])),
        "groups": diagnostics.groups(results),
        "subjects": diagnostics.subjects(score_subjects(outputs, subjects)) if results["by_subject"] else None,
        "weights": figures.weights(outputs) if _are_estimated(outputs) else None,
    }
    written = {}
    for name, figure in drawn.items():
        path = folder / f"{name}_{split}.svg"
        if figure:
            written[svg.save(figure, path)] = figure
        else:
            path.unlink(missing_ok=True)
    return written


def _are_estimated(outputs: Outputs) -> bool:
    """Whether there are modality weights, and in some clip they differ between the modalities that it has."""
    if "weights" not in outputs:
        return False
    present = outputs["present"].astype(bool)
    alike = present / np.maximum(present.sum(axis=1, keepdims=True), 1)
    return not np.allclose(outputs["weights"], alike, atol=1e-6)
