"""What a config describes, checked and built: how clips are read, and the stage that is trained."""

import logging
import re
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from emi_jax.encoders.sources import Encoders
from emi_jax.errors import UserError
from emi_jax.inputs.dataset import Dataset
from emi_jax.inputs.transforms import ClipTransform, InputShape
from emi_jax.modalities import AUDIO, SAMPLE_RATE, TEXT, VISION
from emi_jax.models.contrastive import ContrastiveModel
from emi_jax.models.heads import build_head
from emi_jax.stages.alignment import Alignment
from emi_jax.stages.intensity import Intensity, Weights
from emi_jax.train.step import Stage

_LEAVE_OUT = "; leave it out with --config.model.pairs in stage 1, --config.model.modalities in stage 2"
WITHOUT = {
    VISION: _LEAVE_OUT,
    AUDIO: _LEAVE_OUT,
    TEXT: "; python -m data_prep takes words with --transcripts, or has them recognised with --asr",
}
"""What to do about a modality that no clip has."""

log = logging.getLogger(__name__)


def used_modalities(config: ConfigDict) -> tuple[str, ...]:
    """The modalities of a run, in their order.

    Raises:
        UserError: none, or one that is not known.
    """
    chosen = (*config.model.pairs, TEXT) if config.stage == "alignment" else config.model.modalities
    known = (VISION, AUDIO, TEXT)
    if not chosen or set(chosen) - set(known):
        raise UserError(f"config.model: modalities {tuple(chosen)} should be some of {known}")
    return tuple(modality for modality in known if modality in chosen)


def check_shares(batch_size: int, devices: int, chunks: int) -> None:
    """Holds the batch against the devices and chunks that share it.

    Raises:
        UserError: they cannot share it evenly.
    """
    if batch_size % devices:
        raise UserError(
            f"config.train.batch_size={batch_size} cannot be shared by {devices} devices; take a multiple of {devices}"
        )
    share = batch_size // devices
    if chunks < 1 or share % chunks:
        divisors = ", ".join(str(number) for number in range(1, share + 1) if share % number == 0)
        raise UserError(
            f"config.train.accumulation={chunks} does not divide the {share} clips of a device "
            f"(batch_size={batch_size} on {devices} devices); take one of {divisors}"
        )


def interval(train: ConfigDict, name: str, steps: int) -> int:
    """How many steps lie between two events of a run: `train.<name>` times `steps`, and one at least.

    Args:
        train: the section `train`.
        name: of a field that counts in units of `steps`.
        steps: one unit; those of an epoch for a field in epochs.

    Raises:
        UserError: the field is not positive.
    """
    if not train[name] > 0:
        raise UserError(f"config.train.{name}={train[name]:g} should be positive")
    return max(1, round(train[name] * steps))


def check_clips(dataset: Dataset, stage: str, modalities: Sequence[str]) -> None:
    """Holds the clips of a dataset against what a stage is trained on.

    Raises:
        UserError: no clip has one of the modalities, or labels where the stage needs them.
    """
    needed = [("train", modality) for modality in modalities]
    if stage == "intensity":
        needed += [("train", "labels"), ("valid", "labels")]
    else:
        needed += [("valid", modality) for modality in modalities]
    for split, what in needed:
        if dataset.lacks(split, what):
            raise UserError(f"dataset {dataset.directory}: no clip of {split} has {what}{WITHOUT.get(what, '')}")


def build_transform(
    config: ConfigDict, encoders: Encoders, modalities: tuple[str, ...], num_labels: int
) -> ClipTransform:
    """From an example to arrays, without augmentation.

    Raises:
        UserError: `data.smallest_crop` is no part of a side.
    """
    data = config.data
    if not 0 < data.smallest_crop <= 1:
        raise UserError(
            f"config.data.smallest_crop={data.smallest_crop} is no part of a picture's side; take one in (0, 1]"
        )
    shape = InputShape(
        num_labels=num_labels,
        modalities=modalities,
        num_frames=data.num_frames,
        image_size=encoders.image_size,
        num_samples=round(data.seconds * SAMPLE_RATE),
        num_tokens=_tokens(data.num_tokens, encoders.max_tokens),
    )
    find_silence = config.stage == "intensity"
    return ClipTransform(shape, encoders.tokenizer, smallest_crop=data.smallest_crop, find_silence=find_silence)


def build_stage(config: ConfigDict, encoders: Encoders, transform: ClipTransform, label_names: Sequence[str]) -> Stage:
    """The stage of a config.

    Raises:
        UserError: the head does not have a field, or not in that size.
    """
    example: dict[str, Any] = {name: np.asarray(array)[None] for name, array in transform.padding.items()}
    model, dtype = config.model, jnp.dtype(config.model.dtype)
    if config.stage == "alignment":
        pairs = ContrastiveModel(encoders.towers, tuple(model.pairs), model.width, dtype)
        return Alignment(pairs, example, config.loss.to_dict())
    modalities, name = transform.shape.modalities, model.head.name
    fields = model.head.get(name, {})
    try:
        head = build_head(name, num_labels=len(label_names), modalities=modalities, dtype=dtype, **fields)
    except ValueError as error:
        raise UserError(f"config.model.head: {error}") from error
    return Intensity(
        encoders.towers,
        head,
        example,
        label_names,
        weights=Weights(**config.loss),
        trained_towers=[name for name in modalities if not _is_frozen(name, config.train.frozen)],
        modality_dropout=model.modality_dropout,
    )


def _tokens(wanted: int, limit: int) -> int:
    if 0 < limit < wanted:
        log.info("tokens: %d of the %d that were asked for, more the text encoder does not take", limit, wanted)
        return limit
    return wanted


def _is_frozen(modality: str, patterns: Sequence[str]) -> bool:
    return any(re.search(pattern, f"towers/{modality}/encoder/") for pattern in patterns)
