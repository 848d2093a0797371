"""Robustness: models trained with and without the QAM are evaluated on increasingly corrupted clips.

Each defect affects one modality of every clip, with the same severity for all clips. The encoders process the
corrupted clips once; their features are cached next to the clean ones, and the models of the grid's cells are
evaluated on them.
"""

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
import scipy.stats
from ml_collections import ConfigDict

from emi_jax.inputs.cached import CachedTransform
from emi_jax.inputs.dataset import Dataset, Example
from emi_jax.inputs.features import FeatureCache
from emi_jax.inputs.transforms import Arrays, ClipTransform
from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION
from emi_jax.report import studies, svg, tables
from emi_jax.runs.evaluation import SELECTED, evaluator
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import extract, inputs
from emi_jax.studies.ablation import FULL, Cell, cells, compare, load_trained, run_cell
from emi_jax.train import parameters

Corrupt = Callable[[Arrays, np.random.Generator, float, ClipTransform], Arrays]
VALUES = ("pearson", "weight", "share", "reliability")

log = logging.getLogger(__name__)


def occlude(arrays: Arrays, rng: np.random.Generator, severity: float, clean: ClipTransform) -> Arrays:
    """Covers this share of the height and width of every face, at the same place throughout the clip."""
    frames = arrays["frames"].copy()
    rows, columns = (round(side * severity) for side in frames.shape[1:3])
    top, left = (int(rng.integers(0, n - k + 1)) for n, k in zip(frames.shape[1:3], (rows, columns), strict=True))
    frames[:, top : top + rows, left : left + columns] = rng.integers(0, 256, 3)
    return arrays | {"frames": frames}


def drop_frames(arrays: Arrays, rng: np.random.Generator, severity: float, clean: ClipTransform) -> Arrays:
    """Drops this share of the frames, but always keeps one."""
    mask, valid = arrays["frame_mask"].copy(), np.flatnonzero(arrays["frame_mask"])
    mask[rng.permutation(valid)[: min(round(severity * len(valid)), max(len(valid) - 1, 0))]] = False
    return arrays | {"frame_mask": mask, "frame_supervised": mask}


def add_noise(arrays: Arrays, rng: np.random.Generator, severity: float, clean: ClipTransform) -> Arrays:
    """Adds white noise at this signal-to-noise ratio in dB over the whole clip."""
    mask = arrays["audio_mask"]
    signal = arrays["audio"].astype(np.float32)
    power = np.mean(np.square(signal[mask])) if mask.any() else 0.0
    noise = rng.standard_normal(len(signal)).astype(np.float32) * np.float32(np.sqrt(power * 10 ** (-severity / 10)))
    audio = np.clip(signal + np.where(mask, noise, 0), -32768, 32767).astype(np.int16)
    return arrays | {"audio": audio}


def mistake_words(arrays: Arrays, rng: np.random.Generator, severity: float, clean: ClipTransform) -> Arrays:
    """Replaces this share of the words by other words of the clip, or by the mask token."""
    tokens, words = arrays["tokens"].copy(), np.flatnonzero(arrays["token_supervised"])
    wrong = rng.permutation(words)[: round(severity * len(words))]
    if len(wrong):
        others = rng.choice(tokens[words], len(wrong))
        tokens[wrong] = np.where(rng.random(len(wrong)) < 0.5, others, clean.mask_token)
    return arrays | {"tokens": tokens}


@dataclasses.dataclass(frozen=True)
class Defect:
    """One way to corrupt a clip.

    Attributes:
        modality: the modality that is corrupted.
        unit: the unit of the severities, for the axis label.
        severities: from mild to severe; None is the clean clip.
        corrupt: (arrays of a clip, rng, severity, the transform that made them) -> corrupted arrays; None hides the
            modality.
    """

    modality: str
    unit: str
    severities: tuple[float | None, ...]
    corrupt: Corrupt | None


DEFECTS = {
    "occluded face": Defect(VISION, "side covered", (None, 0.25, 0.5, 0.75, 1.0), occlude),
    "dropped frames": Defect(VISION, "share of frames", (None, 0.25, 0.5, 0.75, 0.9), drop_frames),
    "noisy voice": Defect(AUDIO, "SNR, dB", (None, 20.0, 10.0, 0.0, -10.0), add_noise),
    "word errors": Defect(TEXT, "share of words", (None, 0.25, 0.5, 0.75, 1.0), mistake_words),
    "no face": Defect(VISION, "missing", (None, 1.0), None),
    "no voice": Defect(AUDIO, "missing", (None, 1.0), None),
    "no words": Defect(TEXT, "missing", (None, 1.0), None),
}


@dataclasses.dataclass(frozen=True)
class CorruptedTransform:
    """Corrupts each clip after it is read; the place of the corruption depends only on the clip's number."""

    clean: ClipTransform
    corrupt: Corrupt
    severity: float

    @property
    def padding(self) -> Arrays:
        """The arrays of an unused place in a batch."""
        return self.clean.padding

    def __call__(self, example: Example, rng: np.random.Generator, index: int) -> Arrays:
        """The corrupted arrays of one clip, without the batch axis."""
        arrays = self.clean.read(example, rng, index)
        corrupted = self.corrupt(arrays, np.random.default_rng([2603, index]), self.severity, self.clean)
        return self.clean.describe(corrupted)


@dataclasses.dataclass(frozen=True)
class Hidden:
    """Hides one modality of cached clips."""

    clean: CachedTransform
    modality: str

    @property
    def padding(self) -> Arrays:
        """The arrays of an unused place in a batch."""
        return self.clean.padding

    def __call__(self, clip: Any, rng: np.random.Generator, index: int) -> Arrays:
        """The arrays of one clip, without the batch axis."""
        arrays = self.clean(clip, rng, index)
        present = arrays["present"] & (np.array(MODALITIES) != self.modality)
        mask = f"{self.modality}/mask"
        return arrays | {"present": present, mask: np.zeros_like(arrays[mask])}


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
        if run_cell(cell, dataset, grid, tuple(config.grid.seeds), split, devices)["selected_on_this_split"]:
            note = SELECTED.format(split=split) + "\n"
        for name, curves in evaluate_cell(cell, dataset, folder, grid, split, devices).items():
            found[name]["models"][cell.title] = curves
    full = next(cell.title for cell in chosen if cell.name == FULL)
    return write(found, [cell.title for cell in chosen], full, folder, note)


def evaluate_cell(
    cell: Cell, dataset: Dataset, folder: Path, grid: Path, split: str, devices: Sequence[jax.Device] | None = None
) -> dict[str, dict[str, list[list[float]]]]:
    """The values of a trained cell under every defect: {defect: {value: [severity][seed]}}."""
    experiment = Experiment.open(cell.config, dataset, folder / "work", devices)
    _, frozen = experiment.initial_params()
    trained = load_trained(cell, grid)
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
            goals = [scores[experiment.stage.goal] for scores in evaluated.score(outputs)]
            for value, numbers in _values(outputs, goals, clean["present"], defect).items():
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
    outputs: Mapping[str, np.ndarray], goals: Sequence[float], present: np.ndarray, defect: Defect
) -> dict[str, list[float]]:
    """Each seed's mean Pearson over all clips, and its mean weight, share and reliability of the corrupted modality.

    The latter are means over the clips in which that modality is `present`.
    """
    place = MODALITIES.index(defect.modality)
    clips = present[:, place]
    values: dict[str, Any] = {"pearson": goals}
    for value, array in (("weight", "weights"), ("share", "share"), ("reliability", "reliability")):
        values[value] = outputs[array][clips][:, :, place].mean(0)
    return {value: [float(number) for number in column] for value, column in values.items()}


def write(found: Mapping[str, Any], titles: Sequence[str], full: str, folder: Path, note: str) -> list[Path]:
    """Writes curves, table and JSON of the results.

    Args:
        found: {defect: `severities`, `unit`, `models` {title: the result of `evaluate_cell`}}.
        titles: titles of the models, in order.
        full: title of the model to which the others are compared.
        folder: the folder for the results.
        note: a line about all scores, or an empty string.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graded = {name: defect for name, defect in found.items() if len(defect["severities"]) > 2}
    lines: list[list[str | float]] = []
    for name, defect in found.items():
        for title in titles:
            models = defect["models"]
            curves = {value: np.mean(numbers, axis=1) for value, numbers in models[title].items()}
            ends = [float(curves["pearson"][0]), float(curves["pearson"][-1])]
            apart = compare(*(np.array(models[model]["pearson"][-1]) for model in (title, full)))
            difference = apart["difference"], tables.interval(apart["difference_interval"])
            moves = (_moves(curves[value]) for value in ("weight", "reliability"))
            lines.append([name, title, *ends, *difference, *moves])
    header = ["defect", "model", "clean", "worst", "minus full", "95% interval"]
    header += ["weight of the corrupted modality", "its reliability"]
    texts = {
        "robustness.txt": "mean Pearson over seeds; differences at worst, paired by seed; weights and reliabilities "
        "from clean to worst, and their rank correlation with severity\n" + note + tables.plain(header, lines) + "\n",
        "robustness.md": tables.markdown(header, lines),
        "robustness.json": json.dumps(found, indent=1) + "\n",
    }
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")
    log.info("\n%s", texts["robustness.txt"])
    missing = {name: defect for name, defect in found.items() if name not in graded}
    drawn = {
        "robustness": (graded, ("pearson", "weight", "reliability")),
        "robustness_missing": (missing, ("pearson",)),
    }
    figures = [
        svg.save(studies.robustness(defects, titles, shows), folder / "figures" / f"{file}.svg")
        for file, (defects, shows) in drawn.items()
        if defects
    ]
    return [*figures, *(folder / file for file in texts)]


def _moves(curve: np.ndarray) -> str:
    """The change from clean to worst; with at least three severities also Spearman's correlation with severity."""
    ends = f"{curve[0]:.2f} to {curve[-1]:.2f}"
    if len(curve) < 3 or np.ptp(curve) < 1e-6:
        return ends
    return f"{ends} ({scipy.stats.spearmanr(np.arange(len(curve)), curve).statistic:+.2f})"
