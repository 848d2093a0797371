"""The scores of predictions on a split: by label, by groups of clips and by subject, with their intervals."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from emi_jax.metrics import bootstrap
from emi_jax.metrics import regression as metrics
from emi_jax.metrics.calibration import calibration
from emi_jax.metrics.confusion import confusion
from emi_jax.metrics.subjects import FEWEST_CLIPS, SubjectScores, by_subject, spread
from emi_jax.modalities import MODALITIES

ENOUGH_SUBJECTS = 8
"""With fewer subjects, an interval over subjects says little about unseen people."""
LENGTHS, CLIPS_OF_A_LENGTH = 4, 10
"""The most groups of clips by length, and the fewest clips for each of them."""

Outputs = dict[str, np.ndarray]
Results = dict[str, Any]


def measure(
    outputs: Outputs,
    names: Sequence[str],
    subjects: Sequence[str],
    ceiling: Mapping[str, float],
    modalities: Sequence[str] = MODALITIES,
    seconds: Sequence[float] = (),
) -> Results:
    """The scores of predictions on a split.

    Args:
        outputs: `predictions`, `labels`, `label_mask` [n, K] and `present` [n, 3].
        names: the K label names.
        subjects: [n], the person in each clip; empty strings where unknown. Intervals are over subjects if all are
            known and there are at least two, otherwise over clips.
        ceiling: the Pearson correlation that a perfect model would reach, by label; empty if unknown.
        modalities: the modalities in use; clips are grouped by which of them they have.
        seconds: [n], the length of each clip, 0 where unknown; empty if all are.

    Returns:
        For JSON, None where a number is undefined:
        `clips`, `subjects` (0 where unknown), `resampled` (what intervals are over), `few_subjects`;
        `labels` {name: row} and `mean` row; a row holds `pearson`, `ccc`, `mse`, each with `_interval`, and `ceiling`;
        with `few_subjects` these intervals mean little, and a row also holds `_clip_interval`, over clips;
        `availability` {which modalities: row} and `lengths` {from when to when: row} of the means, with `clips`;
        `by_subject`: how the scores `within` subjects and their `mse` spread, and the Pearson correlation `between`
        the subjects' means; empty where no subject is known;
        `calibration` {name: the fields of `Calibration`}; `confusion` {matrix: [K][K]}.
    """
    arrays = outputs["predictions"], outputs["labels"], outputs["label_mask"]
    groups, unit, count = units(subjects)
    few = 1 < count < ENOUGH_SUBJECTS
    rows, mean = _rows(arrays, groups)
    if few:
        over_clips, mean_over_clips = _rows(arrays, None)
        for row, other in zip([*rows, mean], [*over_clips, mean_over_clips], strict=True):
            row |= {f"{metric}_clip_interval": other[f"{metric}_interval"] for metric in bootstrap.METRICS}
    for row, name in zip(rows, names, strict=True):
        row["ceiling"] = ceiling.get(name)
    mean["ceiling"] = float(np.mean(list(ceiling.values()))) if ceiling else None
    return {
        "clips": len(arrays[0]),
        "subjects": count,
        "resampled": unit,
        "few_subjects": few,
        "labels": dict(zip(names, rows, strict=True)),
        "mean": mean,
        "availability": _grouped(arrays, groups, _availability(outputs["present"], modalities)),
        "lengths": _grouped(arrays, groups, _lengths(np.asarray(seconds, np.float64))),
        "by_subject": _subjects(score_subjects(outputs, subjects)),
        "calibration": _calibration(arrays, names, groups),
        "confusion": {name: for_json(matrix) for name, matrix in confusion(*arrays).items()},
    }


def units(subjects: Sequence[str]) -> tuple[Sequence[str] | None, str, int]:
    """What is resampled: the subject of each clip, or None for single clips; that in words; the number of subjects."""
    count = len(set(subjects)) if all(subjects) else 0
    return (subjects, f"{count} subjects", count) if count > 1 else (None, "clips", count)


def score_subjects(outputs: Outputs, subjects: Sequence[str]) -> SubjectScores:
    """The scores of each known subject."""
    return by_subject(outputs["predictions"], outputs["labels"], outputs["label_mask"], subjects)


def for_json(values: Any) -> Any:
    """Numbers for JSON: None in place of one that is not finite; arrays as lists."""
    if np.ndim(values):
        return [for_json(value) for value in values]
    number = values.item() if isinstance(values, np.generic) else values
    return number if np.isfinite(number) else None


def write_subjects(path: Path, scores: SubjectScores, names: Sequence[str]) -> Path:
    """Writes the scores of each subject as CSV: means over the labels, then Pearson of each label; empty if undefined.

    Args:
        path: of the CSV.
        scores: of the subjects.
        names: the K label names.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Subject", "clips", "pearson", "mse", *(f"pearson {name}" for name in names)])
        for who, clips, pearson, mse in zip(scores.names, scores.clips, scores.pearson, scores.mse, strict=True):
            writer.writerow([who, clips, *for_json([pearson[-1], mse[-1], *pearson[:-1]])])
    return path


def _rows(arrays: Sequence[np.ndarray], groups: Sequence[str] | None) -> tuple[list[Results], Results]:
    """A row for each label, and a row for their mean."""
    pred, labels, mask = arrays
    ends = bootstrap.intervals(pred, labels, mask, groups)
    rows: list[Results] = [{} for _ in range(pred.shape[1] + 1)]
    for metric in bootstrap.METRICS:
        [values] = bootstrap.with_mean(getattr(metrics, metric)(*arrays)[None])
        for row, value, interval in zip(rows, values, ends[metric], strict=True):
            row |= {metric: for_json(value), f"{metric}_interval": for_json(interval)}
    return rows[:-1], rows[-1]


def _grouped(
    arrays: Sequence[np.ndarray], groups: Sequence[str] | None, chosen: Mapping[str, np.ndarray]
) -> dict[str, Results]:
    """The mean row of each group: no intervals for a single subject, no correlations over too few clips."""
    found = {}
    for title, clips in chosen.items():
        who = None if groups is None else np.asarray(groups)[clips]
        _, row = _rows([array[clips] for array in arrays], who)
        if who is not None and len(set(who)) < 2:
            row |= {f"{metric}_interval": [None, None] for metric in bootstrap.METRICS}
        if clips.sum() < FEWEST_CLIPS:
            for metric in ("pearson", "ccc"):
                row |= {metric: None, f"{metric}_interval": [None, None]}
        found[title] = {"clips": int(clips.sum()), **row}
    return found


def _availability(present: np.ndarray, modalities: Sequence[str]) -> dict[str, np.ndarray]:
    """Groups clips by which of the modalities in use they have: all, all but one, none; omits empty groups."""
    has = {name: present[:, MODALITIES.index(name)].astype(bool) for name in modalities}
    count = np.sum(list(has.values()), axis=0)
    every = "all three" if len(has) == len(MODALITIES) else " and ".join(has)
    groups = {every: count == len(has)}
    groups |= {f"no {name}": ~there & (count > 0) for name, there in has.items()}
    groups["none"] = count == 0
    return {title: chosen for title, chosen in groups.items() if chosen.any()}


def _lengths(seconds: np.ndarray) -> dict[str, np.ndarray]:
    """Groups clips of known length into about equally many short to long ones; nothing if all are equally long."""
    seconds = seconds.round(1)  # so that no two groups have the same title
    measured = seconds[seconds > 0]
    count = min(LENGTHS, len(measured) // CLIPS_OF_A_LENGTH)
    if count < 2:
        return {}
    ranks = np.full(len(seconds), np.nan)
    ranks[seconds > 0] = (scipy.stats.rankdata(measured) - 0.5) / len(measured)  # equal lengths share their mean rank
    found = {}
    for number in range(count):
        chosen = np.floor(count * ranks) == number
        if not chosen.any():
            continue
        first, last = seconds[chosen].min(), seconds[chosen].max()
        found[f"{first:.1f} to {last:.1f} s" if first < last else f"{first:.1f} s"] = chosen
    return found if len(found) > 1 else {}


def _subjects(scores: SubjectScores) -> Results:
    if not scores.names:
        return {}
    return {
        "fewest_clips": FEWEST_CLIPS,
        "within": spread(scores.pearson[:, -1]),
        "mse": spread(scores.mse[:, -1]),
        "between": for_json(scores.between),
    }


def _calibration(arrays: Sequence[np.ndarray], names: Sequence[str], groups: Sequence[str] | None) -> Results:
    pred, labels, mask = arrays
    found = {}
    for place, name in enumerate(names):
        if curve := calibration(pred[:, place], labels[:, place], mask[:, place], groups):
            found[name] = {field: for_json(value) for field, value in curve._asdict().items()}
    return found
