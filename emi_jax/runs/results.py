"""The readable results of a run: scores with intervals, predictions, figures and a page, in its folder."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from emi_jax.errors import UserError
from emi_jax.inputs.dataset import Dataset, clip_id, seconds, subject
from emi_jax.loggers.registry import check_loggers
from emi_jax.modalities import MODALITIES
from emi_jax.report import figures, score_tables, svg
from emi_jax.report.run import write_report
from emi_jax.report.tables import Table
from emi_jax.runs.baseline import linear_baseline
from emi_jax.runs.comparison import compare
from emi_jax.runs.drawings import draw_scores
from emi_jax.runs.evaluation import SELECTED, TRAINED_ON, chosen_params, evaluator, selected_on, trained_on
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.probe import probed
from emi_jax.runs.scores import Outputs, Results, measure, score_subjects, write_subjects
from emi_jax.runs.standardisation import choice
from emi_jax.runs.stored import read_predictions_of
from emi_jax.runs.submission import write_predictions


@dataclasses.dataclass(frozen=True)
class Summary:
    """The results on one split.

    Attributes:
        table: the scores as text.
        written: the written files.
        drawn: the figures among them, by their files.
        verdict: one line, preceded by a caution if the parameters were selected on this split.
    """

    table: str
    written: list[Path]
    verdict: str
    drawn: Mapping[Path, Figure] = dataclasses.field(default_factory=dict)


def evaluate(experiment: Experiment, split: str, other: Path | None = None) -> Summary:
    """Scores a trained run on a split; writes and plots the results.

    Args:
        experiment: the run.
        split: name of the split.
        other: in stage 2, the folder of another run, or a CSV of predictions, to compare the run with.

    Raises:
        UserError: the other predictions are missing or of other clips, or the run is of stage 1.
    """
    if other and experiment.config.stage == "alignment":
        raise UserError(f"--compare={other} is for stage 2: stage 1 predicts no intensities")
    check_loggers(experiment.config.train.loggers)
    compared = _read_other(experiment, split, other) if other else None
    experiment.workdir.make_output()
    scorer = probed(experiment, evaluator(experiment, split))
    [scores], outputs = scorer.run(chosen_params(experiment), progress=True)
    folder = experiment.workdir.output
    svg.save(figures.curves(experiment.workdir.metrics(), experiment.stage.goal), folder / "figures" / "curves.svg")
    if experiment.config.stage == "alignment":
        summary = _alignment(experiment, split, scores, outputs)
    else:
        summary = _intensity(experiment, split, scores, outputs, compared)
    with experiment.workdir.logging():
        final = {f"final/{split}/{name}": value for name, value in scores.items()}
        pictures = {f"figures/{path.stem}": svg.to_picture(figure) for path, figure in summary.drawn.items()}
        experiment.workdir.log_results(final, pictures)
    page = write_report(folder, experiment.config.to_dict(), experiment.dataset)
    return dataclasses.replace(summary, written=[*summary.written, page])


def predict(experiment: Experiment, split: str) -> Path:
    """Writes a trained run's predictions on a split, which needs no labels."""
    experiment.workdir.make_output()
    outputs = evaluator(experiment, split).gather(chosen_params(experiment), progress=True)
    return _write_predictions(experiment, split, experiment.clip_ids(split, outputs["clip"]), outputs)


def _alignment(experiment: Experiment, split: str, scores: dict[str, float], outputs: Outputs) -> Summary:
    folder = experiment.workdir.output
    facts = _facts(experiment, split)
    table = _text(score_tables.alignment_tables(scores, split), facts, split)
    pairs = {}
    for modality in MODALITIES:
        if f"{modality}/left" in outputs and (both := outputs[f"{modality}/both"]).any():
            pairs[modality] = outputs[f"{modality}/left"][both], outputs[f"{modality}/text"][both]
    drawings = {"recall": figures.recalls(scores), "similarity": figures.similarities(pairs)}
    drawn = {svg.save(each, folder / "figures" / f"{name}_{split}.svg"): each for name, each in drawings.items()}
    written = [experiment.workdir.write_json(f"metrics_{split}.json", {"scores": scores, "table": table} | facts)]
    reached = scores["mean/recall@1"]
    chance = float(np.mean([scores[f"chance_{pair}/recall@1"] for pair in _pairs(scores)]))
    verdict = f"mean recall@1 {reached:.3f} chance {chance:.4f} ratio {reached / chance:.1f}"
    return Summary(table, [*written, *drawn], _cautious(verdict, facts, split), drawn)


def _intensity(
    experiment: Experiment,
    split: str,
    scores: dict[str, float],
    outputs: Outputs,
    compared: tuple[Path, np.ndarray] | None,
) -> Summary:
    folder, dataset, workdir = experiment.workdir.output, experiment.dataset, experiment.workdir
    ids, subjects = named_clips(dataset, split, outputs["clip"])
    examples, names = dataset.split(split), dataset.label_names
    lengths = [seconds(examples[int(clip)]) for clip in outputs["clip"]]
    modalities = experiment.transform.shape.modalities
    results = measure(outputs, names, subjects, _ceiling(dataset, split), modalities, lengths)
    in_order = outputs["predictions"][np.argsort(outputs["clip"])]
    results |= _facts(experiment, split) | {"baseline": linear_baseline(experiment, split, in_order)}
    if compared:
        results["comparison"] = compare(outputs, *compared, names, subjects, split)
    table = _text(score_tables.intensity_tables(results, split), results, split)
    drawn = draw_scores(folder / "figures", split, outputs, results, subjects, dataset.label_range)
    written = [
        workdir.write_json(f"metrics_{split}.json", results | {"table": table}),
        _write_predictions(experiment, split, ids, outputs),
        *drawn,
    ]
    if results["by_subject"]:
        written.append(write_subjects(folder / f"subjects_{split}.csv", score_subjects(outputs, subjects), names))
    verdict = f"mean pearson {scores[experiment.stage.goal]:.3f}"
    if (best := results["mean"]["ceiling"]) is not None:
        verdict += f" ceiling {best:.3f} ratio {scores[experiment.stage.goal] / best:.2f}"
    return Summary(table, written, _cautious(verdict, results, split), drawn)


def _read_other(experiment: Experiment, split: str, other: Path) -> tuple[Path, np.ndarray]:
    """The source of other predictions, and the predictions of all clips of a split in [0, 1], [n, K]."""
    index = experiment.dataset.index(split)
    ids = [clip_id(index[row]) for row in range(len(index))]
    return other, read_predictions_of(other, experiment.dataset, split, ids)


def named_clips(dataset: Dataset, split: str, clips: Sequence[int] | np.ndarray) -> tuple[list[str], list[str]]:
    """The ids and subjects of clips by their rows in a split."""
    examples = dataset.index(split)
    named = [(clip_id(example), subject(example)) for example in (examples[int(clip)] for clip in clips)]
    return [name for name, _ in named], [who for _, who in named]


def _facts(experiment: Experiment, split: str) -> Results:
    """What was evaluated, how its features were standardised, and whether it was selected on this split."""
    how, modalities = choice(experiment)
    return {
        "select": experiment.config.train.select,
        "standardised": {"how": how, "modalities": modalities},
        score_tables.CHOSEN: selected_on(experiment, split),
        score_tables.TRAINED: trained_on(experiment, split),
    }


def _text(found: list[Table], results: Results, split: str) -> str:
    return "\n\n".join([score_tables.text_of(found), *score_tables.meaning(results, split)])


def _cautious(verdict: str, results: Results, split: str) -> str:
    cautions = {SELECTED: results[score_tables.CHOSEN], TRAINED_ON: results[score_tables.TRAINED]}
    return "\n".join([*(caution.format(split=split) for caution, holds in cautions.items() if holds), verdict])


def _ceiling(dataset: Dataset, split: str) -> dict[str, float]:
    return {name: float(value) for name, value in dataset.ceiling.get(split, {}).items()}


def _pairs(scores: Mapping[str, float]) -> list[str]:
    return sorted({name.split("/")[0].removeprefix("chance_") for name in scores if name.startswith("chance_")})


def _write_predictions(experiment: Experiment, split: str, ids: Sequence[str], outputs: Outputs) -> Path:
    dataset, path = experiment.dataset, experiment.workdir.output / f"predictions_{split}.csv"
    return write_predictions(path, ids, outputs["predictions"], dataset.label_names, dataset.label_range)
