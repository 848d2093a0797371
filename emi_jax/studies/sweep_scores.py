"""The table of a sweep: scores with intervals, paired differences to the config's own setting, and cost."""

import csv
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emi_jax.files import whole_file
from emi_jax.inputs.dataset import Dataset
from emi_jax.metrics import bootstrap, regression
from emi_jax.report import tables
from emi_jax.runs.results import Summary, named_clips
from emi_jax.runs.scores import ENOUGH_SUBJECTS, Outputs
from emi_jax.studies.search import Setting

PARAMETERS = "parameters"
"""Name of the number of trained parameters among the outputs that a run keeps."""


@dataclasses.dataclass(frozen=True)
class Scored:
    """A setting with its score on a split.

    Attributes:
        setting: the setting.
        pearson: mean over labels and seeds; NaN if undefined.
        drawn: [R], the same in each resample of the split.
        parameters: trained in one run.
        seconds: of training, over the runs of all seeds.
        unit: what was resampled, for the caption.
    """

    setting: Setting
    pearson: float
    drawn: np.ndarray
    parameters: int
    seconds: float
    unit: str

    def interval(self) -> list[float]:
        """The 95% bootstrap interval of the score."""
        return bootstrap.quantiles(self.drawn).tolist()

    def minus(self, other: "Scored") -> list[float]:
        """The difference to another setting's score, and its paired 95% interval; NaN for the same setting."""
        if other is self:
            return [float("nan")] * 3
        return [self.pearson - other.pearson, *bootstrap.quantiles(self.drawn - other.drawn).tolist()]


def score(
    setting: Setting,
    outputs: Sequence[Outputs],
    records: Sequence[Sequence[Mapping[str, float]]],
    dataset: Dataset,
    split: str,
) -> Scored:
    """Scores a setting on a split.

    Args:
        setting: the setting.
        outputs: of the run of each seed: `predictions`, `labels`, `label_mask` [n, K], `clip` [n], `parameters`.
        records: the metrics of the run of each seed.
        dataset: the dataset.
        split: the split.
    """
    _, subjects = named_clips(dataset, split, outputs[0]["clip"])
    groups = subjects if all(subjects) and len(set(subjects)) > 1 else None
    arrays = [(each["predictions"], each["labels"], each["label_mask"]) for each in outputs]
    pearson = np.mean([_mean_of_defined(regression.pearson(*each)) for each in arrays])
    drawn = np.mean([bootstrap.resampled(*each, groups)["pearson"][:, -1] for each in arrays], axis=0)
    unit = f"{len(set(subjects))} subjects" if groups else f"{len(subjects)} clips"
    if groups and len(set(groups)) < ENOUGH_SUBJECTS:
        unit += ", too few to say much about other people"
    return Scored(
        setting, float(pearson), drawn, int(outputs[0][PARAMETERS]), sum(map(training_seconds, records)), unit
    )


def training_seconds(records: Sequence[Mapping[str, float]]) -> float:
    """The seconds in which a run's steps were made, with evaluations; of a repeated step the last time counts.

    Args:
        records: the run's metrics, by step.
    """
    seconds, before = 0.0, 0.0
    for record in records:
        parts = [value for name, value in record.items() if name.startswith("seconds_per_step/")]
        if parts:
            seconds += sum(parts) * (record["step"] - before)
            before = record["step"]
    return seconds


def rank(scored: Sequence[Scored]) -> list[Scored]:
    """The settings, best first; equal ones in their order, undefined scores last."""
    return sorted(scored, key=lambda each: -np.nan_to_num(each.pearson, nan=-np.inf))


def write(
    folder: Path,
    ranked: Sequence[Scored],
    tested: Mapping[str, Scored],
    failed: Sequence[tuple[Setting, str]],
    choosing: str,
    held_out: str,
) -> Summary:
    """Writes `sweep.csv`, which holds no times and so depends on nothing but the runs, and `sweep.txt` with times.

    Args:
        folder: of the sweep.
        ranked: the settings by their score on the split that chooses.
        tested: the best setting and the config's own on the split that does not choose, by name; empty without labels.
        failed: settings of which a run failed, with the reason.
        choosing: the split that chooses.
        held_out: the split that does not.
    """
    base, best = _base(ranked), ranked[0]
    fields = list(best.setting.values)
    header = ["setting", *fields, f"{choosing} Pearson", "95% interval", "minus base", "95% interval"]
    lines: list[list[tables.Cell]] = []
    for each in ranked:
        difference, *ends = each.minus(base)
        values = [_shown(each.setting.values[field]) for field in fields]
        interval = tables.interval(each.interval())
        cost = [f"{each.parameters:,}", f"{each.seconds:.0f}"]
        lines.append([each.setting.name, *values, each.pearson, interval, difference, tables.interval(ends), *cost])
    parts = [
        f"{len(ranked)} settings, best first; mean Pearson on {choosing}, intervals over {best.unit}\n"
        + tables.plain([*header, "parameters", "seconds"], lines),
        f"The clips of {choosing} chose the first row, whose score is too high for that, the more so the more settings "
        "there are. Differences are paired and hold for one comparison: of twenty settings that equal base, one is "
        "expected to have an interval without 0.",
    ]
    if tested:
        parts.append(_test_table(tested, best, held_out))
    parts += [f"{setting.name} failed, {described(setting)}: {reason}" for setting, reason in failed]
    text = "\n\n".join(parts)
    written = [folder / "sweep.txt", folder / "sweep.csv"]
    with whole_file(written[0]) as partial:
        partial.write_text(text + "\n", encoding="utf-8")
    _write_csv(written[1], ranked, tested, failed, fields, (choosing, held_out))
    verdict = f"best on {choosing}: {best.setting.name}, mean pearson {best.pearson:.3f}"
    return Summary(text, written, verdict)


def described(setting: Setting) -> str:
    """The changes of a setting in words."""
    return ", ".join(f"{path}={_shown(value)}" for path, value in setting.changes.items()) or "the config as it is"


def _test_table(tested: Mapping[str, Scored], best: Scored, held_out: str) -> str:
    base, winner = _base(tested.values()), tested[best.setting.name]
    rows: list[list[tables.Cell]] = []
    for name, each in tested.items():
        difference, *ends = each.minus(base)
        rows.append([name, each.pearson, tables.interval(each.interval()), difference, tables.interval(ends)])
    caption = f"mean Pearson on {held_out}, which chose nothing, intervals over {winner.unit}"
    header = ["setting", f"{held_out} Pearson", "95% interval", "minus base", "95% interval"]
    return f"{caption}\n{tables.plain(header, rows)}"


def _write_csv(
    path: Path,
    ranked: Sequence[Scored],
    tested: Mapping[str, Scored],
    failed: Sequence[tuple[Setting, str]],
    fields: Sequence[str],
    splits: Sequence[str],
) -> None:
    """One row for each setting, with all digits."""
    numbers = ("pearson", "low", "high", "minus_base", "minus_base_low", "minus_base_high")
    columns = [f"{split}_{number}" for split in splits for number in numbers]
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["setting", *fields, "parameters", *columns, "failed"])
        for each in ranked:
            found = [*_numbers(each, _base(ranked))]
            other = tested.get(each.setting.name)
            found += _numbers(other, _base(tested.values())) if other else [""] * len(numbers)
            writer.writerow([each.setting.name, *_values(each.setting, fields), each.parameters, *found, ""])
        for setting, reason in failed:
            writer.writerow([setting.name, *_values(setting, fields), "", *[""] * len(columns), reason])


def _numbers(each: Scored, base: Scored) -> list[Any]:
    values = [each.pearson, *each.interval(), *each.minus(base)]
    return ["" if np.isnan(value) else value for value in values]


def _values(setting: Setting, fields: Sequence[str]) -> list[Any]:
    return [setting.values[field] for field in fields]


def _base(scored: Iterable[Scored]) -> Scored:
    return next(each for each in scored if not each.setting.changes)


def _mean_of_defined(values: np.ndarray) -> float:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
