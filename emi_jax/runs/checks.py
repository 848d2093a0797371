"""Checks of a config before anything is read, encoded or written; each fault is reported in one line."""

import itertools
from collections.abc import Sequence

from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.inputs.augmentation import Augmentation
from emi_jax.inputs.dataset import Dataset
from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.models.contrastive import LOSSES
from emi_jax.runs.bounds import check_bounds
from emi_jax.train.optimizer import OPTIMIZERS

_LEAVE_OUT = "; leave it out with --config.model.pairs in stage 1, --config.model.modalities in stage 2"
WITHOUT = {
    VISION: _LEAVE_OUT,
    AUDIO: _LEAVE_OUT,
    TEXT: "; python -m data_prep takes words with --transcripts, or has them recognised with --asr; stage 2 needs none "
    "with \"--config.model.modalities=('vision', 'audio')\"",
}
"""What to do about a modality that no clip has."""

BEST, LAST, AVERAGE = SELECTIONS = ("best", "last", "average")
"""The parameters to evaluate: the best on the validation split, those after the last step, or their average."""

AUTO, ON, OFF = BASELINES = ("auto", "on", "off")
"""When the linear baseline is fitted: if it is quick, always, or never."""

DTYPES = ("float32", "bfloat16")


def check_fields(config: ConfigDict) -> None:
    """Checks fields that depend on each other.

    Raises:
        UserError: a field has no effect, or its value cannot be used.
    """
    if config.model.dtype not in DTYPES:
        raise UserError(
            f"config.model.dtype={config.model.dtype!r}: choose one of {', '.join(DTYPES)}; float16 "
            "would need loss scaling, which is not implemented"
        )
    check_bounds(config)
    _check_choice(config.train.optimizer, "config.train.optimizer", OPTIMIZERS)
    check_selection(config.train)
    if "valid" in config.data.train_on and config.train.select == BEST:
        raise UserError(
            "config.data.train_on names valid, whose scores would select the best checkpoint of clips it was trained "
            "on: set --config.train.select=last, and --config.train.epochs to the number that a cross-validation finds"
        )
    _check_augmentation(config)
    _check_length_buckets(config.data.length_buckets)
    if config.stage == "alignment":
        _check_pairs(config)
    else:
        _check_features(config)
        _check_choice(config.baseline, "config.baseline", BASELINES)
        _check_quality(config)


def _check_augmentation(config: ConfigDict) -> None:
    try:
        Augmentation(**config.augment)
    except ValueError as error:
        raise UserError(f"config.augment.{error}") from error


def _check_length_buckets(buckets: Sequence) -> None:
    def is_pair(bucket: object) -> bool:
        if not isinstance(bucket, list | tuple) or len(bucket) != 2:
            return False
        return all(isinstance(part, int | float) and 0 < part <= 1 for part in bucket)

    steps = itertools.pairwise([*buckets, (1, 1)])
    if not all(map(is_pair, buckets)) or not all(a != b and a[0] <= b[0] and a[1] <= b[1] for a, b in steps):
        raise UserError(
            f"config.data.length_buckets={tuple(buckets)}: expected pairs of fractions, of sound and of tokens, "
            "in ascending order, such as ((0.25, 0.25), (0.5, 0.25)); (1, 1) is always the last and is not named"
        )


def _check_pairs(config: ConfigDict) -> None:
    _check_choice(config.loss.kind, "config.loss.kind", LOSSES)
    if config.train.corrupt and config.features.dir:
        raise UserError(
            f"config.train.corrupt={config.train.corrupt:g} has no effect on the cached features of stage 1; use 0, or "
            "switch the cache off with --config.features.dir="
        )
    for pair in (VISION, AUDIO):
        weight = config.loss[pair]
        if pair in config.model.pairs and not weight > 0:
            raise UserError(
                f"config.loss.{pair}={weight:g}: a pair that is trained needs a positive weight; leave it out with "
                "--config.model.pairs"
            )
        if pair not in config.model.pairs and weight:
            raise UserError(
                f"config.loss.{pair}={weight:g} has no effect, since config.model.pairs={tuple(config.model.pairs)}; "
                f"set --config.loss.{pair}=0, or train the pair"
            )


def _check_features(config: ConfigDict) -> None:
    corrupt, features = config.train.corrupt, config.features
    if features.renditions and not features.dir:
        raise UserError(
            f"config.features.renditions={features.renditions} has no effect without a feature cache; set "
            "--config.features.renditions=0, or name a folder with --config.features.dir"
        )
    if corrupt and features.dir and not features.renditions:
        raise UserError(
            f"config.train.corrupt={corrupt:g} uses corrupted steps of the feature cache, and there are none with "
            "config.features.renditions=0; use 1 or more, or config.train.corrupt=0"
        )


def _check_choice(value: str, name: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(f"{name}={value!r}: choose one of {', '.join(choices)}")


def _check_quality(config: ConfigDict) -> None:
    name, weight = config.model.head.name, config.loss.quality
    fusion = config.model.head.fusion
    if (name == "fusion" and (fusion.statistics or fusion.auxiliary)) != bool(config.loss.unimodal):
        raise UserError(
            f"config.loss.unimodal={config.loss.unimodal:g} trains the predictions of single modalities, and nothing "
            "else does: set it with --config.model.head.fusion.statistics or --config.model.head.fusion.auxiliary"
        )
    if weight and not (name == "fusion" and config.model.head.fusion.quality):
        raise UserError(
            f"config.loss.quality={weight:g} has no effect: the head {name} estimates no reliability as configured; "
            "set --config.loss.quality=0"
        )


def check_selection(train: ConfigDict) -> None:
    """Checks that `train.select` names parameters that the run saves.

    Raises:
        UserError: it names others, or the average is not defined.
    """
    if train.select not in SELECTIONS:
        raise UserError(f"config.train.select={train.select!r}: choose one of {', '.join(SELECTIONS)}")
    if train.ema and train.swa:
        raise UserError(
            f"config.train: ema={train.ema:g} and swa={train.swa:g} are two averages, and one is evaluated; set the "
            "other to 0"
        )
    if train.select == AVERAGE and not (train.ema or train.swa):
        raise UserError(
            "config.train.select=average: the run has none; set --config.train.ema=0.999 or --config.train.swa=0.25"
        )


def check_shares(batch_size: int, devices: int, chunks: int) -> None:
    """Checks that devices and chunks can share a batch evenly.

    Raises:
        UserError: they cannot share it evenly.
    """
    if batch_size % devices:
        raise UserError(
            f"config.train.batch_size={batch_size} cannot be shared by {devices} devices; use a multiple of {devices}"
        )
    share = batch_size // devices
    if chunks < 1 or share % chunks:
        divisors = ", ".join(str(number) for number in range(1, share + 1) if share % number == 0)
        raise UserError(
            f"config.train.accumulation={chunks} does not divide the {share} clips of a device "
            f"(batch_size={batch_size} on {devices} devices); use one of {divisors}"
        )


def interval(train: ConfigDict, name: str, steps: int) -> int:
    """Number of steps between two events of a run: `train.<name>` times `steps`, at least one.

    Args:
        train: the section `train`.
        name: the field, in units of `steps`.
        steps: number of steps in one unit; the steps of an epoch for a field in epochs.
    """
    return max(1, round(train[name] * steps))


def check_clips(dataset: Dataset, stage: str, modalities: Sequence[str]) -> None:
    """Checks that a dataset has the splits, modalities and labels that a stage is trained on.

    Raises:
        UserError: there is no training or validation split; no clip has one of the modalities, or labels where the
            stage needs them.
    """
    for split in ("train", "valid"):
        try:
            dataset.split(split)
        except UserError as error:
            raise UserError(
                f"{error}. Training needs train and valid: prepare clips of more people, or name the splits in the "
                "corpus' table where it has a Split"
            ) from None
    needed = [("train", modality) for modality in modalities]
    if stage == "intensity":
        needed += [("train", "labels"), ("valid", "labels")]
    else:
        needed += [("valid", modality) for modality in modalities]
    for split, what in needed:
        if dataset.lacks(split, what):
            raise UserError(f"dataset {dataset.directory}: no clip of {split} has {what}{WITHOUT.get(what, '')}")
