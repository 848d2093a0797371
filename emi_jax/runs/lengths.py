"""The length buckets of a split: how long its clips are, from the dataset's index, and how long each bucket's are."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from emi_jax.descriptors.voice import voice_steps
from emi_jax.inputs.augmentation import Augmentation
from emi_jax.inputs.dataset import transcript
from emi_jax.inputs.index import Row
from emi_jax.inputs.lengths import MASKS, LengthBuckets
from emi_jax.modalities import AUDIO, TEXT
from emi_jax.runs.experiment import Experiment

CUT = {AUDIO: 0, TEXT: 1}
"""The modalities that are cut, and the place of each one's fraction in an entry of `data.length_buckets`.

Frames are few and spread over a clip of any length.
"""


def length_buckets(
    experiment: Experiment, split: str, augmentation: Augmentation | None = None
) -> LengthBuckets | None:
    """The buckets of a split's clips; None if the config names none, or the run reads nothing that is cut.

    Args:
        experiment: the run.
        split: name of the split.
        augmentation: of the clips that are read; none by default.
    """
    fractions = experiment.config.data.length_buckets
    modalities = [name for name in experiment.transform.shape.modalities if name in CUT]
    if not fractions or not modalities:
        return None
    index = experiment.dataset.index(split)
    rows = [index[row] for row in range(len(index))]
    sizes: list[dict[str, int]] = [{} for _ in (*fractions, 1)]
    lengths = []
    for modality in modalities:
        parts = [*(entry[CUT[modality]] for entry in fractions), 1.0]
        found, masks = _lengths(experiment, modality, rows, augmentation or Augmentation(), parts)
        lengths.append((found, next(iter(masks.values()))))
        for bucket, kept in enumerate(sizes):
            kept |= {mask: longest[bucket] for mask, longest in masks.items()}
    return LengthBuckets.of(lengths, sizes)


def _lengths(
    experiment: Experiment, modality: str, rows: Sequence[Row], augmentation: Augmentation, parts: Sequence[float]
) -> tuple[np.ndarray, Mapping[str, list[int]]]:
    """The lengths of a modality in all clips, and the longest of each bucket, by the name of the mask.

    The first mask is the one whose steps the lengths count.
    """
    shape, encoders = experiment.transform.shape, experiment.encoders
    if modality in encoders.own:
        found = [min(row["steps"].get(modality, 0), shape.num_steps) for row in rows]
        return np.array(found), {f"{modality}/mask": [math.ceil(part * shape.num_steps) for part in parts]}
    if modality == TEXT:
        found = [_tokens(experiment, transcript(row)) for row in rows]
        longest = [math.ceil(part * shape.num_tokens) for part in parts]
        return np.array(found), {MASKS[TEXT]: longest, f"{TEXT}/mask": longest}
    found = [min(augmentation.longest_voice(row["samples"]), shape.num_samples) for row in rows]
    longest = [max(encoders.min_samples, math.ceil(part * shape.num_samples)) for part in parts]
    return np.array(found), {MASKS[AUDIO]: longest, f"{AUDIO}/mask": [_steps(experiment, size) for size in longest]}


def _steps(experiment: Experiment, samples: int) -> int:
    """The number of steps of the voice's features in so many samples."""
    encoders = experiment.encoders
    if AUDIO in encoders.describers:
        return voice_steps(encoders.describers[AUDIO].config, samples)
    assert encoders.towers.audio is not None  # there is no other encoder
    return encoders.towers.audio.encoder.config.steps.count(samples)


def _tokens(experiment: Experiment, text: str) -> int:
    """The number of places that the tokens of a transcript take."""
    assert experiment.transform.reader is not None  # whenever text is among the modalities
    read = experiment.transform.reader(text)
    return int(np.flatnonzero(read.mask)[-1]) + 1 if read.words.any() else 0
