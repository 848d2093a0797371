"""Robustness: models trained with and without the QAM are evaluated on increasingly corrupted clips.

Each defect affects one modality of every clip, with the same severity for all clips. The encoders process the
corrupted clips once; their features are cached next to the clean ones, and the models of the grid's cells are
evaluated on them.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import scipy
from ml_collections import ConfigDict

from emi_jax.inputs.cached import CachedTransform
from emi_jax.inputs.dataset import Dataset
from emi_jax.inputs.features import FeatureCache
from emi_jax.metrics.significance import holm, paired_t_test
from emi_jax.modalities import MODALITIES
from emi_jax.report import studies, svg, tables
from emi_jax.runs.evaluation import SELECTED, evaluator
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import extract, inputs
from emi_jax.studies.ablation import load_trained, open_cell, run_cell
from emi_jax.studies.cells import Cell, cells
from emi_jax.studies.defects import DEFECTS, CorruptedTransform, Defect, Hidden
from emi_jax.train import parameters

VALUES = ("pearson", "mse", "weight", "share", "reliability")

log = logging.getLogger(__name__)


def run(
    config: ConfigDict, dataset: Dataset, folder: Path, split: str, devices: Sequence[jax.Device] | None = None
) -> list[Path]:
    """Runs the missing cells, evaluates each under every defect, and writes curves, table and JSON.

    Args:
        config: as for `ablation.run`, with the cells to compare; `grid.folder` is where the cells are stored.
        dataset: the dataset.
        folder: the folder for the results.
        split: the split whose clips are corrupted.
        devices: all devices by default.

    Returns:
        The written files.
    """
    found: dict[str, Any] = {
        name: {"severities": defect.severities, "unit": defect.unit, "modality": defect.modality, "models": {}}
        for name, defect in _defects(config).items()
    }
    chosen, grid = cells(config), Path(config.grid.folder)
    note = ""
    for cell in chosen:
        result = run_cell(cell, dataset, grid, tuple(config.grid.seeds), split, devices)
        if result["selected_on_this_split"]:
            note = SELECTED.format(split=split) + "\n"
        experiment = open_cell(cell, dataset, grid, result["recipe"], devices)
        for name, curves in evaluate_cell(cell, experiment, load_trained(cell, grid), split).items():
            found[name]["models"][cell.title] = curves
    return write(found, chosen, config.grid.reference, folder, note)


def evaluate_cell(
    cell: Cell, experiment: Experiment, trained: dict, split: str
) -> dict[str, dict[str, list[list[float]]]]:
    """The values of a cell under every defect, {defect: {value: [severity][seed]}}.

    Args:
        cell: the cell.
        experiment: its experiment.
        trained: its trained parameters, arrays [S, ...].
        split: the split whose clips are corrupted.
    """
    _, frozen = experiment.initial_params()
    params = experiment.mapping.replicate(parameters.merge(trained, frozen))
    seeds = len(jax.tree.leaves(trained)[0])
    evaluated, cache = evaluator(experiment, split, seeds), _encode(experiment, split)
    examples, transform = inputs(experiment, split, augment=False)
    clean = evaluated.gather(params)
    found: dict[str, dict[str, list[list[float]]]] = {}
    for name, defect in _defects(cell.config).items():
        found[name] = {value: [] for value in VALUES}
        for severity in defect.severities:
            if severity is None:
                outputs = clean
            elif defect.corrupt is None:
                hidden = Hidden(cast(CachedTransform, transform), defect.modality)
                outputs = evaluated.over(examples, hidden).gather(params)
            else:
                corrupted = cache.read(split, [_rendition(name, severity)])
                outputs = evaluated.over(corrupted, transform).gather(params)
            scores = evaluated.score(outputs)
            for value, numbers in _values(outputs, scores, clean["present"], defect).items():
                found[name][value].append(numbers)
        log.info("%s, %s: %s", cell.title, name, " ".join(f"{np.mean(v):.3f}" for v in found[name]["pearson"]))
    return found


def _encode(experiment: Experiment, split: str) -> FeatureCache:
    """The features of all corrupted clips, which are computed first if they are missing."""
    return extract(
        experiment,
        split,
        {
            _rendition(name, severity): CorruptedTransform(experiment.transform, defect.corrupt, severity)
            for name, defect in _defects(experiment.config).items()
            if defect.corrupt
            for severity in defect.severities
            if severity is not None
        },
    )


def _defects(config: ConfigDict) -> dict[str, Defect]:
    """The defects of the modalities in use."""
    return {name: defect for name, defect in DEFECTS.items() if defect.modality in config.model.modalities}


def _rendition(name: str, severity: float) -> str:
    return f"{name.replace(' ', '-')}-{severity:g}"


def _values(
    outputs: Mapping[str, np.ndarray],
    scores: Sequence[Mapping[str, float]],
    present: np.ndarray,
    defect: Defect,
) -> dict[str, list[float]]:
    """Each seed's mean Pearson and squared error over all clips, and what it made of the corrupted modality.

    Its weight, share and reliability are means over the clips in which that modality is `present`.
    """
    place = MODALITIES.index(defect.modality)
    clips = present[:, place]
    values: dict[str, Any] = {value: [each[f"mean/{value}"] for each in scores] for value in ("pearson", "mse")}
    for value, array in (("weight", "weights"), ("share", "share"), ("reliability", "reliability")):
        values[value] = outputs[array][clips][:, :, place].mean(0)
    return {value: [float(number) for number in column] for value, column in values.items()}


def write(found: Mapping[str, Any], models: Sequence[Cell], reference: str, folder: Path, note: str) -> list[Path]:
    """Writes curves, table and JSON of the results.

    Args:
        found: {defect: `severities`, `unit`, `models` {title: the result of `evaluate_cell`}}.
        models: the cells of the models, in order.
        reference: name of the cell with which the others are compared, if it is among them.
        folder: the folder for the results.
        note: a line about all scores, or an empty string.
    """
    folder.mkdir(parents=True, exist_ok=True)
    titles = [model.title for model in models]
    compared = next((model.title for model in models if model.name == reference), None)
    graded = {name: defect for name, defect in found.items() if len(defect["severities"]) > 2}
    rows = [(name, title) for name in found for title in titles]

    def worst(name: str, title: str) -> np.ndarray:
        return np.array(found[name]["models"][title]["pearson"][-1])

    apart = [paired_t_test(worst(*row), worst(row[0], compared) if compared else None) for row in rows]
    corrected = holm([row["p"] for row in apart])
    lines: list[list[str | float]] = []
    for (name, title), row, p in zip(rows, apart, corrected, strict=True):
        curves = {value: np.mean(numbers, axis=1) for value, numbers in found[name]["models"][title].items()}
        ends = [float(curves["pearson"][0]), float(curves["pearson"][-1])]
        difference = row["difference"], tables.interval(row["difference_interval"]), tables.p_value(p)
        moves = (_moves(curves[value]) for value in ("weight", "reliability"))
        lines.append([name, title, *ends, *difference, _ends(curves["mse"], 3), *moves])
    header = ["defect", "model", "clean", "worst", f"minus {reference}", "95% interval", "p, Holm", "MSE"]
    header += ["weight of the corrupted modality", "its reliability"]
    caption = (
        "mean Pearson over seeds; differences at worst, paired by seed; p of paired t-tests, corrected for "
        f"{np.isfinite(corrected).sum()} comparisons by Holm; squared errors, weights and reliabilities from clean to "
        "worst, and their rank correlation with severity\n"
    )
    texts = {
        "robustness.txt": caption + note + tables.plain(header, lines) + "\n",
        "robustness.md": tables.markdown(header, lines),
        "robustness.json": json.dumps(found, indent=1) + "\n",
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    log.info("\n%s", texts["robustness.txt"])
    missing = {name: defect for name, defect in found.items() if name not in graded}
    drawn = {
        "robustness": (graded, ("pearson", "mse", "weight", "reliability")),
        "robustness_missing": (missing, ("pearson", "mse")),
    }
    figures = [
        svg.save(studies.robustness(defects, titles, shows), folder / "figures" / f"{file}.svg")
        for file, (defects, shows) in drawn.items()
        if defects
    ]
    return [*figures, *(folder / file for file in texts)]


def _moves(curve: np.ndarray) -> str:
    """The change from clean to worst; with at least three severities also Spearman's correlation with severity."""
    ends = _ends(curve, 2)
    if len(curve) < 3 or np.ptp(curve) < 1e-6:
        return ends
    return f"{ends} ({scipy.stats.spearmanr(np.arange(len(curve)), curve).statistic:+.2f})"


def _ends(curve: np.ndarray, decimals: int) -> str:
    return f"{curve[0]:.{decimals}f} to {curve[-1]:.{decimals}f}"
