"""The readable results of a run: scores with intervals, predictions, figures and a page, in its folder."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emi_jax.inputs.dataset import Dataset, clip_id, subject
from emi_jax.metrics import bootstrap
from emi_jax.metrics import regression as metrics
from emi_jax.modalities import MODALITIES
from emi_jax.report import figures, score_tables, svg
from emi_jax.report.run import write_report
from emi_jax.report.tables import Table
from emi_jax.runs.baseline import linear_baseline
from emi_jax.runs.evaluation import SELECTED, TRAINED_ON, chosen_params, evaluator, selected_on, trained_on
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.standardisation import choice
from emi_jax.runs.submission import write_predictions

ENOUGH_SUBJECTS = 8
"""With fewer subjects, an interval over subjects says little about unseen people."""

Outputs = dict[str, np.ndarray]
Results = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Summary:
    """The results on one split.

    Attributes:
        table: the scores as text.
        written: the written files.
        verdict: one line, preceded by a caution if the parameters were selected on this split.
    """

    table: str
    written: list[Path]
    verdict: str


def evaluate(experiment: Experiment, split: str) -> Summary:
    """Scores a trained run on a split; writes and plots the results."""
    experiment.workdir.make_output()
    [scores], outputs = evaluator(experiment, split).run(chosen_params(experiment), progress=True)
    folder = experiment.workdir.output
    svg.save(figures.curves(experiment.workdir.metrics(), experiment.stage.goal), folder / "figures" / "curves.svg")
    summarise = {"alignment": _alignment, "intensity": _intensity}[experiment.config.stage]
    summary = summarise(experiment, split, scores, outputs)
    page = write_report(folder, experiment.config.to_dict(), experiment.dataset)
    return dataclasses.replace(summary, written=[*summary.written, page])


def predict(experiment: Experiment, split: str) -> Path:
    """Writes a trained run's predictions on a split, which needs no labels."""
    experiment.workdir.make_output()
    outputs = evaluator(experiment, split).gather(chosen_params(experiment), progress=True)
    return _write_predictions(experiment, split, experiment.clip_ids(split, outputs["clip"]), outputs)


def measure(
    outputs: Outputs,
    names: Sequence[str],
    subjects: Sequence[str],
    ceiling: Mapping[str, float],
    modalities: Sequence[str] = MODALITIES,
) -> Results:
    """The scores of predictions on a split.

    Args:
        outputs: `predictions`, `labels`, `label_mask` [n, K] and `present` [n, 3].
        names: the K label names.
        subjects: [n], the person in each clip; empty strings where unknown. Intervals are over subjects if all are
            known and there are at least two, otherwise over clips.
        ceiling: the Pearson correlation that a perfect model would reach, by label; empty if unknown.
        modalities: the modalities in use; clips are counted by which of them they have.

    Returns:
        For JSON: `clips`, `subjects` (0 where unknown), `resampled`, `few_subjects`, `labels` {name: row}, `mean` row,
        `availability` {which modalities: row}. A row holds `pearson`, `ccc`, `mse`, each with `_interval`, and
        `ceiling`; None where a number is undefined. With `few_subjects` these intervals mean little, and a row also
        holds `_clip_interval`, over clips.
    """
    arrays = outputs["predictions"], outputs["labels"], outputs["label_mask"]
    count = len(set(subjects)) if all(subjects) else 0
    known, few = count > 1, 1 < count < ENOUGH_SUBJECTS
    rows, mean = _rows(arrays, subjects if known else None)
    if few:
        over_clips, mean_over_clips = _rows(arrays, None)
        for row, other in zip([*rows, mean], [*over_clips, mean_over_clips], strict=True):
            row |= {f"{metric}_clip_interval": other[f"{metric}_interval"] for metric in bootstrap.METRICS}
    for row, name in zip(rows, names, strict=True):
        row["ceiling"] = ceiling.get(name)
    mean["ceiling"] = float(np.mean(list(ceiling.values()))) if ceiling else None
    availability = {}
    for title, chosen in _availability(outputs["present"], modalities).items():
        _, mean_of_some = _rows([array[chosen] for array in arrays], None)
        availability[title] = {"clips": int(chosen.sum()), **mean_of_some}
    return {
        "clips": len(arrays[0]),
        "subjects": count,
        "resampled": f"{count} subjects" if known else "clips",
        "few_subjects": few,
        "labels": dict(zip(names, rows, strict=True)),
        "mean": mean,
        "availability": availability,
    }


def _alignment(experiment: Experiment, split: str, scores: dict[str, float], outputs: Outputs) -> Summary:
    folder = experiment.workdir.output
    facts = _facts(experiment, split)
    table = _text([score_tables.retrieval_table(scores, split)], facts, split)
    pairs = {}
    for modality in MODALITIES:
        if f"{modality}/left" in outputs and (both := outputs[f"{modality}/both"]).any():
            pairs[modality] = outputs[f"{modality}/left"][both], outputs[f"{modality}/text"][both]
    written = [
        experiment.workdir.write_json(f"metrics_{split}.json", {"scores": scores, "table": table} | facts),
        svg.save(figures.recalls(scores), folder / "figures" / f"recall_{split}.svg"),
        svg.save(figures.similarities(pairs), folder / "figures" / f"similarity_{split}.svg"),
    ]
    reached = scores["mean/recall@1"]
    chance = float(np.mean([scores[f"chance_{pair}/recall@1"] for pair in _pairs(scores)]))
    verdict = f"mean recall@1 {reached:.3f} chance {chance:.4f} ratio {reached / chance:.1f}"
    return Summary(table, written, _cautious(verdict, facts, split))


def _intensity(experiment: Experiment, split: str, scores: dict[str, float], outputs: Outputs) -> Summary:
    folder, dataset = experiment.workdir.output, experiment.dataset
    ids, subjects = named_clips(dataset, split, outputs["clip"])
    modalities = experiment.transform.shape.modalities
    results = measure(outputs, dataset.label_names, subjects, _ceiling(dataset, split), modalities)
    results |= _facts(experiment, split) | {"baseline": linear_baseline(experiment, split)}
    table = _text(score_tables.intensity_tables(results, split), results, split)
    written = [
        experiment.workdir.write_json(f"metrics_{split}.json", results | {"table": table}),
        _write_predictions(experiment, split, ids, outputs),
        svg.save(figures.pearson_bars(results), folder / "figures" / f"pearson_{split}.svg"),
        svg.save(
            figures.scatter(outputs, results, dataset.label_range), folder / "figures" / f"predictions_{split}.svg"
        ),
        svg.save(figures.weights(outputs), folder / "figures" / f"weights_{split}.svg"),
    ]
    verdict = f"mean pearson {scores[experiment.stage.goal]:.3f}"
    if (best := results["mean"]["ceiling"]) is not None:
        verdict += f" ceiling {best:.3f} ratio {scores[experiment.stage.goal] / best:.2f}"
    return Summary(table, written, _cautious(verdict, results, split))


def named_clips(dataset: Dataset, split: str, clips: Sequence[int] | np.ndarray) -> tuple[list[str], list[str]]:
    """The ids and subjects of clips by their rows in a split."""
    examples = dataset.texts(split)
    named = [(clip_id(example), subject(example)) for example in (examples[int(clip)] for clip in clips)]
    return [name for name, _ in named], [who for _, who in named]


def _rows(arrays: Sequence[np.ndarray], groups: Sequence[str] | None) -> tuple[list[Results], Results]:
    """A row for each label, and a row for their mean."""
    pred, labels, mask = arrays
    ends = bootstrap.intervals(pred, labels, mask, groups)
    rows: list[Results] = [{} for _ in range(pred.shape[1] + 1)]
    for metric in bootstrap.METRICS:
        values = getattr(metrics, metric)(*arrays)
        defined = values[np.isfinite(values)]
        values = np.append(values, defined.mean() if len(defined) else np.nan)
        for row, value, interval in zip(rows, values, ends[metric], strict=True):
            row |= {metric: _known(value), f"{metric}_interval": [_known(end) for end in interval]}
    return rows[:-1], rows[-1]


def _availability(present: np.ndarray, modalities: Sequence[str]) -> dict[str, np.ndarray]:
    """Groups clips by which of the modalities in use they have: all, all but one, none; omits empty groups."""
    has = {name: present[:, MODALITIES.index(name)].astype(bool) for name in modalities}
    count = np.sum(list(has.values()), axis=0)
    every = "all three" if len(has) == len(MODALITIES) else " and ".join(has)
    groups = {every: count == len(has)}
    groups |= {f"no {name}": ~there & (count > 0) for name, there in has.items()}
    groups["none"] = count == 0
    return {title: chosen for title, chosen in groups.items() if chosen.any()}


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


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
