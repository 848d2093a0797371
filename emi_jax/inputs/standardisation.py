"""Means and standard deviations by which features are standardised: over a split, or over the clips of one subject."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from emi_jax.descriptors.statistics import pooled_statistics
from emi_jax.errors import UserError
from emi_jax.files import whole_file, write_tensors

Clip = Mapping[str, np.ndarray]

CONSTANT = 1e-5
"""A column whose deviation is below this share of its size counts as constant, and is only centred."""
FARTHEST = 10.0
"""Deviations from the mean beyond which standardised values are cut: corrupted steps may lie hundreds away."""


class Moments(NamedTuple):
    """Means and standard deviations of columns, float32 [D] each."""

    mean: np.ndarray
    deviation: np.ndarray


class Standardisation(NamedTuple):
    """How the features of one modality are standardised.

    Attributes:
        steps: moments of the steps [t, D].
        pooled: moments of the statistics over time of each clip [6 D]. Those of steps that are standardised first are
            the same once they are standardised themselves.
    """

    steps: Moments
    pooled: Moments


def measure(clips: Iterable[Clip], modality: str) -> Standardisation | None:
    """The moments of one modality's features over clips; None if no clip has a valid step.

    Args:
        clips: arrays with `{modality}/features` [t, D] and `{modality}/mask` bool [t]; they are read twice.
        modality: the modality.
    """
    steps = _moments(features[mask] for features, mask in _of(clips, modality))
    if steps is None:
        return None
    pooled = _moments(pooled_statistics(features, mask)[None] for features, mask in _of(clips, modality) if mask.any())
    assert pooled is not None  # some clip has a valid step
    return Standardisation(steps, pooled)


def save(path: Path, measured: Mapping[str, Standardisation]) -> None:
    """Writes the moments of all modalities to a safetensors file, complete or not at all."""
    tensors = {
        f"{modality}/{level}/{name}": array
        for modality, standardisation in measured.items()
        for level, moments in standardisation._asdict().items()
        for name, array in moments._asdict().items()
    }
    with whole_file(path) as partial:
        write_tensors(partial, tensors)


def load(path: Path) -> dict[str, Standardisation]:
    """Reads what `save` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        tensors = load_file(path)
        modalities = {name.partition("/")[0] for name in tensors}
        return {
            modality: Standardisation(
                *(
                    Moments(*(tensors[f"{modality}/{level}/{name}"] for name in Moments._fields))
                    for level in Standardisation._fields
                )
            )
            for modality in sorted(modalities)
        }
    except (OSError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): it is written by training, and evaluation needs it"
        ) from error


def _of(clips: Iterable[Clip], modality: str) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    return ((clip[f"{modality}/features"], clip[f"{modality}/mask"]) for clip in clips)


def _moments(parts: Iterable[np.ndarray]) -> Moments | None:
    """The moments of all rows of arrays [n, D]; None if there are none."""
    count, total, square = 0, np.zeros(1), np.zeros(1)
    for part in parts:
        rows = part.astype(np.float64)
        count, total, square = count + len(rows), total + rows.sum(axis=0), square + np.square(rows).sum(axis=0)
    if not count:
        return None
    mean = total / count
    deviation = np.sqrt(np.maximum(square / count - np.square(mean), 0))
    deviation = np.where(deviation > CONSTANT * np.maximum(np.abs(mean), 1), deviation, 1)
    return Moments(mean.astype(np.float32), deviation.astype(np.float32))
