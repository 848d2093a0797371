"""What a run leaves for people: scores, predictions and pictures in its folder, and the lines that sum them up."""

import dataclasses
from pathlib import Path

import numpy as np

from emi_jax import report
from emi_jax.experiment import Experiment

Outputs = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Summary:
    """The results on one split.

    Attributes:
        table: for reading.
        written: files made.
        verdict: all in one line.
    """

    table: str
    written: list[Path]
    verdict: str


def evaluate(experiment: Experiment, split: str) -> Summary:
    """Scores the best checkpoint on a split; writes and draws the results."""
    scores, outputs = experiment.evaluator(split).run(experiment.best(), progress=True)
    written = [experiment.workdir.write_json(f"metrics_{split}.json", scores)]
    if records := experiment.workdir.metrics():
        written.append(experiment.workdir.path / "learning_curves.png")
        report.draw_curves(records, experiment.stage.goal, written[-1])
    summarise = {"alignment": _alignment, "intensity": _intensity}[experiment.config.stage]
    summary = summarise(experiment, split, scores, outputs)
    return dataclasses.replace(summary, written=[*written, *summary.written])


def predict(experiment: Experiment, split: str) -> Path:
    """Writes the best checkpoint's predictions on a split, which needs no labels."""
    _, outputs = experiment.evaluator(split).run(experiment.best(), progress=True)
    return _write_predictions(experiment, split, outputs)


def _alignment(experiment: Experiment, split: str, scores: report.Scores, outputs: Outputs) -> Summary:
    picture = experiment.workdir.path / f"retrieval_{split}.png"
    report.draw_retrieval(scores, picture)
    reached, chance = scores["mean/recall@1"], report.mean_chance(scores)
    verdict = f"mean recall@1 {reached:.3f} chance {chance:.4f} ratio {reached / chance:.1f}"
    return Summary(f"retrieval on {split}\n{report.retrieval_table(scores)}", [picture], verdict)


def _intensity(experiment: Experiment, split: str, scores: report.Scores, outputs: Outputs) -> Summary:
    names, folder = experiment.dataset.label_names, experiment.workdir.path
    scatter, weights = folder / f"predictions_{split}.png", folder / f"weights_{split}.png"
    report.draw_predictions(outputs, scores, names, scatter)
    report.draw_weights(outputs, weights)
    ceiling = experiment.dataset.ceiling.get(split, {})
    verdict = f"mean pearson {scores[experiment.stage.goal]:.3f}"
    if ceiling:
        best = report.mean_ceiling(ceiling)
        verdict += f" ceiling {best:.3f} ratio {scores[experiment.stage.goal] / best:.2f}"
    table = f"intensities on {split}\n{report.intensity_table(scores, names, ceiling)}"
    return Summary(table, [_write_predictions(experiment, split, outputs), scatter, weights], verdict)


def _write_predictions(experiment: Experiment, split: str, outputs: Outputs) -> Path:
    dataset, path = experiment.dataset, experiment.workdir.path / f"predictions_{split}.csv"
    ids = experiment.clip_ids(split, outputs["clip"])
    report.write_predictions(path, ids, outputs["predictions"], dataset.label_names, dataset.label_range)
    return path
