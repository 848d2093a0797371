"""Cross-validation over subjects: each fold is predicted by a run that was trained on the other folds.

A fold is a run of stage 2 in `folds/NAME`, with the held-out clips as its validation split, which selects nothing. It
can be evaluated and predicts like any other run. A finished fold keeps its predictions in `out_of_fold.safetensors`, so
an interrupted cross-validation resumes in the middle of a fold.
"""

import dataclasses
import functools
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.files import read_tensors, whole_file, write_tensors
from emi_jax.inputs.dataset import Dataset, clip_id, seconds, subject
from emi_jax.inputs.described import DESCRIPTORS
from emi_jax.inputs.folds import subject_folds
from emi_jax.inputs.regrouped import Place, places_of, regroup
from emi_jax.inputs.sampling import Epochs
from emi_jax.modalities import TEXT
from emi_jax.report.run import write_report
from emi_jax.runs.checks import BEST
from emi_jax.runs.evaluation import chosen_params, evaluator, stored_config
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.folds_baseline import out_of_fold_baseline
from emi_jax.runs.results import Summary, predict
from emi_jax.runs.scores import Outputs
from emi_jax.runs.training import train
from emi_jax.runs.workdir import Workdir
from emi_jax.studies import crossval_scores
from emi_jax.studies.parts import SHARED, Part

FILE = "out_of_fold.safetensors"
"""In the folder of a finished fold: the outputs for its held-out clips."""
KEPT = ("predictions", "labels", "label_mask", "present")
"""The outputs that are kept."""

log = logging.getLogger(__name__)


def run(config: ConfigDict, dataset: Dataset, folder: Path, devices: Sequence[jax.Device] | None = None) -> Summary:
    """Trains the missing folds and scores the predictions of all clips by the runs that have not seen their subject.

    Args:
        config: a config of stage 2, with `crossval`: `folds`, `seed` and `splits`.
        dataset: the dataset.
        folder: the folder of the cross-validation.
        devices: all devices by default.

    Raises:
        UserError: the config or the dataset does not allow a cross-validation.
    """
    places, subjects, fold_of = _divide(config, dataset)
    if config.init_from:
        log.info("note: the encoders of %s may have seen held-out clips, without their labels", config.init_from)
    count = int(fold_of.max()) + 1
    parts, curves = [], []
    for fold in range(count):
        outputs, curve = _run_fold(config, dataset, folder, places, fold_of, fold, devices)
        parts.append(outputs)
        curves.append(curve)
    order = np.argsort(np.concatenate([np.flatnonzero(fold_of == fold) for fold in range(count)]))
    outputs = {name: np.concatenate([part[name] for part in parts])[order] for name in KEPT}
    ids = [clip_id(dataset.index(split)[row]) for split, row in places]
    lengths = [seconds(dataset.split(split)[row]) for split, row in places]
    baseline = None
    if _shares_features(config, dataset):
        everything = regroup(dataset, {"train": places})
        experiment = Experiment.open(_fold_config(config, folder), everything, folder, devices)
        baseline = out_of_fold_baseline(experiment, fold_of, outputs["predictions"])
    summary = crossval_scores.write(folder, dataset, outputs, ids, subjects, lengths, fold_of, curves, baseline)
    page = write_report(folder, config.to_dict(), dataset)
    return dataclasses.replace(summary, written=[*summary.written, page])


def parts(
    config: ConfigDict, dataset: Dataset, folder: Path, devices: Sequence[jax.Device] | None = None
) -> list[Part]:
    """The folds; arguments and errors as for `run`."""
    places, _, fold_of = _divide(config, dataset)

    def part(fold: int) -> Part:
        given = config, dataset, folder, places, fold_of, fold
        do, check = functools.partial(_run_fold, *given, devices), functools.partial(_check_fold, *given)
        return Part(f"{fold:03d}", (_path(folder, fold) / FILE).exists, do, check)

    return [part(fold) for fold in range(int(fold_of.max()) + 1)]


def _divide(config: ConfigDict, dataset: Dataset) -> tuple[list[Place], list[str], np.ndarray]:
    """The clips of the cross-validation, their subjects, and the fold of each."""
    places = _places(config, dataset)
    subjects = [subject(dataset.index(split)[row]) for split, row in places]
    return places, subjects, _assign(config, dataset, places, subjects)


def _places(config: ConfigDict, dataset: Dataset) -> list[Place]:
    """The clips of the cross-validation.

    Raises:
        UserError: the config selects on the held-out clips, trains on chosen splits, or names a split without labels.
    """
    splits = tuple(config.crossval.splits)
    if config.train.select == BEST:
        raise UserError(
            "config.train.select=best would select the checkpoint of a fold on its held-out clips, so that their "
            "scores would be too high: use last or average"
        )
    if tuple(config.data.train_on) != ("train",):
        raise UserError("config.data.train_on has no effect: the folds are made of config.crossval.splits")
    if not splits or len(set(splits)) < len(splits):
        raise UserError(f"config.crossval.splits={splits}: expected one or more splits, each once")
    for split in splits:
        dataset.split(split)
        if dataset.lacks(split, "labels"):
            raise UserError(f"config.crossval.splits={splits}: no clip of {split} has labels; leave it out")
    return [place for split in splits for place in places_of(dataset, split)]


def _assign(config: ConfigDict, dataset: Dataset, places: Sequence[Place], subjects: Sequence[str]) -> np.ndarray:
    """The fold of each clip."""
    labels = np.stack([np.asarray(dataset.split(split)[row]["labels"], np.float32) for split, row in places])
    if unknown := sum(not name for name in subjects):
        log.warning("%d clips have no known subject: one person may be in several folds", unknown)
    try:
        fold_of = subject_folds(subjects, labels, config.crossval.folds, config.crossval.seed)
    except ValueError as error:
        options = config.crossval
        raise UserError(f"config.crossval: folds={options.folds}, seed={options.seed}: {error}") from error
    sizes = np.bincount(fold_of)
    log.info("%d folds of %d to %d clips", len(sizes), sizes.min(), sizes.max())
    return fold_of


def _run_fold(
    config: ConfigDict,
    dataset: Dataset,
    folder: Path,
    places: Sequence[Place],
    fold_of: np.ndarray,
    fold: int,
    devices: Sequence[jax.Device] | None,
) -> tuple[Outputs, dict[float, float]]:
    """The outputs for the held-out clips of a fold, and its score by epoch; the fold is trained first if need be."""
    path = _path(folder, fold)
    own, view = _check_fold(config, dataset, folder, places, fold_of, fold)
    if (path / FILE).exists():
        log.info("fold %d: already done", fold)
    else:
        log.info("\nfold %d: %d clips to train on, %d held out", fold, *(view.splits[x] for x in ("train", "valid")))
        began = time.monotonic()
        experiment = Experiment.open(own, view, path, devices)
        train(experiment)
        outputs = evaluator(experiment, "valid").gather(chosen_params(experiment), progress=True)
        for split in set(dataset.splits) - {"train", "valid", *config.crossval.splits}:
            if dataset.splits[split]:
                predict(experiment, split)
        with whole_file(path / FILE) as partial:
            write_tensors(partial, {name: outputs[name] for name in KEPT})
        log.info("fold %d: done in %.0f s", fold, time.monotonic() - began)
    steps = Epochs(view.splits["train"], own.train.batch_size, seed=0).steps
    curve = {
        record["step"] / steps: record["valid/mean/pearson"]
        for record in Workdir(path).metrics()
        if "valid/mean/pearson" in record
    }
    return read_tensors(path / FILE), curve


def _check_fold(
    config: ConfigDict, dataset: Dataset, folder: Path, places: Sequence[Place], fold_of: np.ndarray, fold: int
) -> tuple[ConfigDict, Dataset]:
    """The config of a fold's run, and its dataset, whose validation split are the held-out clips.

    Raises:
        UserError: its folder holds a fold of another config, dataset or division.
    """
    path = _path(folder, fold)
    own = _fold_config(config, path)
    if not _shares_features(config, dataset) and own.features.dir:
        own.features.dir = str(path / "features")
    held_out = [place for place, number in zip(places, fold_of, strict=True) if number == fold]
    others = [place for place, number in zip(places, fold_of, strict=True) if number != fold]
    view = regroup(dataset, {"train": others, "valid": held_out})
    if path.exists():
        workdir = Workdir(path)
        workdir.write_config(stored_config(own))
        try:
            workdir.write_dataset(view)
        except UserError as error:
            raise UserError(f"{error}; the division into folds (config.crossval) must be the same, too") from error
    return own, view


def _path(folder: Path, fold: int) -> Path:
    """The folder of a fold's run."""
    return folder / "folds" / f"{fold:03d}"


def _fold_config(config: ConfigDict, path: Path) -> ConfigDict:
    """The config of a fold: a plain run of stage 2, which knows from which splits its training clips come."""
    own = config.copy_and_resolve_references()
    with own.unlocked():
        for part in (*SHARED, "crossval"):
            del own[part]
    own.workdir = str(path)
    own.data.train_on = ("train", *(split for split in config.crossval.splits if split != "train"))
    return own


def _shares_features(config: ConfigDict, dataset: Dataset) -> bool:
    """Whether the features of all folds are the same, since nothing that makes them is fitted on training clips.

    The vocabulary of a text encoder from scratch is that of the training transcripts.
    """
    text: Any = config.model[TEXT]
    from_scratch = not (config.init_from or text.pretrained or TEXT in dataset.features)
    kind = text.config.model_type or text.scratch.model_type
    fitted = TEXT in config.model.modalities and from_scratch and kind not in DESCRIPTORS
    return bool(config.features.dir) and not fitted
