"""Standardises the features of a run: over its training split, with moments kept in its folder, or within subjects."""

import collections
import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from emi_jax.errors import UserError
from emi_jax.inputs.cached import CachedClips
from emi_jax.inputs.dataset import Examples, subject
from emi_jax.inputs.standardisation import Moments, Standardisation, load, measure, save
from emi_jax.inputs.transforms import Arrays
from emi_jax.models.readout import readouts_of
from emi_jax.runs.experiment import Experiment
from emi_jax.stages.intensity import Intensity
from emi_jax.train.processes import is_first

FILE = "standardisation.safetensors"
"""In the folder of a run: the moments over its training split."""
AUTO, SPLIT, SUBJECT, NONE = CHOICES = ("auto", "split", "subject", "none")

log = logging.getLogger(__name__)


def choice(experiment: Experiment) -> tuple[str, list[str]]:
    """How features are standardised, `SPLIT`, `SUBJECT` or `NONE`, and of which modalities."""
    if not isinstance(experiment.stage, Intensity):
        return NONE, []
    how, modalities = experiment.config.features.standardise, list(experiment.transform.shape.modalities)
    if how not in CHOICES:
        raise UserError(f"config.features.standardise={how!r}: choose one of {', '.join(CHOICES)}")
    if how in (SPLIT, SUBJECT) and (trained := experiment.stage.trained_towers):
        raise UserError(
            f"config.features.standardise={how}: the features of the {next(iter(trained))} encoder change, since it is "
            "trained, and have no fixed moments; use auto or none, or freeze it with --config.train.frozen"
        )
    if how in (SPLIT, SUBJECT) and (learned := readouts_of(experiment.encoders.towers).names):
        raise UserError(
            f"config.features.standardise={how}: the features of the {learned[0]} encoder change, since its layers or "
            "patches are mixed by learned weights; each layer of a mix is normalised as it is: use auto or none"
        )
    if how == AUTO:
        encoders = experiment.encoders
        modalities = [name for name in modalities if name in encoders.describers or name in encoders.own]
        how = SPLIT if modalities else NONE
    return how, modalities


def standardised(experiment: Experiment, clips: Iterable[Arrays] | None = None) -> Experiment:
    """The same run with the moments of its training split.

    Args:
        experiment: the run.
        clips: the clean features of the training split, to measure the moments if the run has none yet.

    Raises:
        UserError: the run has no moments, and no clips are given.
    """
    how, modalities = choice(experiment)
    if how != SPLIT or not isinstance(experiment.stage, Intensity):
        return experiment
    path = experiment.workdir.path / FILE
    if clips is not None and not path.exists():
        log.info("standardisation: measuring the features of the training split")
        found = {name: moments for name in modalities if (moments := measure(clips, name)) is not None}
        if is_first():
            save(path, found)
    else:
        found = load(path)
    return dataclasses.replace(experiment, stage=dataclasses.replace(experiment.stage, standardisation=found))


class Described:
    """The features of a split that are computed as its clips are read, one clip after the other."""

    def __init__(self, experiment: Experiment, split: str):
        """Reads the split of a run; nothing is read before the first iteration."""
        self._examples, self._transform = experiment.dataset.split(split), experiment.transform

    def __iter__(self) -> Iterator[Arrays]:
        for index in range(len(self._examples)):
            yield self._transform(self._examples[index], np.random.default_rng(0), index)


class Clean:
    """The clean features of a cached split, one clip after the other."""

    def __init__(self, cached: CachedClips, rows: Sequence[int] | None = None):
        """Reads the given rows, or all."""
        self._cached, self._rows = cached, range(len(cached)) if rows is None else rows

    def __iter__(self) -> Iterator[Arrays]:
        for row in self._rows:
            yield self._cached[row].rendition(0)


def of_subjects(
    cached: CachedClips, index: Examples, modalities: Sequence[str], split: str
) -> list[Mapping[str, np.ndarray]]:
    """For each clip of a cached split the moments of its subject's clips, as arrays for a batch.

    Raises:
        UserError: the subject of a clip is unknown.
    """
    rows = collections.defaultdict(list)
    for row in range(len(cached)):
        rows[subject(index[row])].append(row)
    if unknown := len(rows.pop("", [])):
        raise UserError(
            f"config.features.standardise=subject: {unknown} clips of {split} have no known subject; prepare the "
            "dataset with a Subject column, or standardise over the split"
        )
    widths = {name: cached[0].rendition(0)[f"{name}/features"].shape[-1] for name in modalities}
    moments: list[Mapping[str, np.ndarray]] = [{}] * len(cached)
    for mine in rows.values():
        clips = Clean(cached, mine)
        arrays = moments_arrays({name: measure(clips, name) for name in modalities}, widths)
        for row in mine:
            moments[row] = arrays
    few = sum(len(mine) < 3 for mine in rows.values())
    log.info("standardisation: within %d subjects of %s, %d of them with fewer than 3 clips", len(rows), split, few)
    return moments


def moments_arrays(measured: Mapping[str, Standardisation | None], widths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Moments as the arrays of one clip, `{modality}/{level}/{mean, deviation}`; 0 and 1 where nothing is known."""
    arrays: dict[str, np.ndarray] = {}
    for name, standardisation in measured.items():
        for level, factor in (("steps", 1), ("pooled", 6)):
            width = factor * widths[name]
            unknown = Moments(np.zeros(width, np.float32), np.ones(width, np.float32))
            moments = getattr(standardisation, level) if standardisation else unknown
            arrays |= {f"{name}/{level}/{part}": array for part, array in moments._asdict().items()}
    return arrays


def clean_training_clips(experiment: Experiment, cached: CachedClips | None) -> Iterable[Arrays]:
    """The training split's features: from the cache, or computed as its clips are read.

    Raises:
        UserError: there is no cache, and some features need a tower.
    """
    if cached is not None:
        return Clean(cached)
    how, modalities = choice(experiment)
    if how != NONE and (towers := [name for name in modalities if getattr(experiment.encoders.towers, name)]):
        raise UserError(
            f"config.features.standardise={experiment.config.features.standardise}: the {towers[0]} features are "
            "measured from the feature cache; name its folder with --config.features.dir"
        )
    return Described(experiment, "train")
