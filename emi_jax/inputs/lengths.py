"""Cuts padding: what all clips of a batch share, or, in batches of clips of similar length, what their bucket has."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from emi_jax.errors import UserError
from emi_jax.inputs.described import Arrays
from emi_jax.modalities import AUDIO, MODALITIES, STEPWISE, TEXT, VISION

MASKS = {VISION: "frame_mask", AUDIO: "audio_mask", TEXT: "token_mask"}
"""Name of each modality's mask of valid steps in a batch."""
RAW = {"frame_mask": "frames", "audio_mask": "audio", "token_mask": "tokens"}
"""Name of the pictures, the sound or the words that a mask is of."""
PARTS = (0.25, 0.5, 0.75, 1.0)
"""The fractions of its steps to which `without_common_padding` cuts a modality; few, as each shape is compiled."""


@dataclasses.dataclass(frozen=True, eq=False)
class LengthBuckets:
    """Clips of a split in buckets by their length; a batch is padded to the size of its bucket.

    Attributes:
        of_clips: int [n], the bucket of each clip, 0 for the shortest.
        sizes: for each bucket, shortest first, the number of steps that a mask and the arrays along with it keep, by
            the name of the mask. Arrays of masks that are not named stay whole, as all do in the last bucket.
    """

    of_clips: np.ndarray
    sizes: Sequence[Mapping[str, int]]

    @classmethod
    def of(
        cls, lengths: Sequence[tuple[np.ndarray, Sequence[int]]], sizes: Sequence[Mapping[str, int]]
    ) -> "LengthBuckets":
        """Puts each clip into the first bucket that holds it.

        Args:
            lengths: for each modality the lengths of the clips, int [n], and the longest that each bucket holds, in
                ascending order; no length is greater than the last.
            sizes: as above.
        """
        return cls(np.max([np.searchsorted(longest, found) for found, longest in lengths], axis=0), sizes)

    def __str__(self) -> str:
        """How many clips are in each bucket, and its size."""
        counts = np.bincount(self.of_clips, minlength=len(self.sizes))
        sizes = (", ".join(f"{size} in {mask}" for mask, size in kept.items()) for kept in self.sizes)
        return "; ".join(f"{count} clips of up to {size}" for count, size in zip(counts, sizes, strict=True))

    def at(self, rows: np.ndarray) -> "LengthBuckets":
        """The buckets of some of the clips."""
        return dataclasses.replace(self, of_clips=self.of_clips[rows])

    def cut(self, arrays: Arrays, bucket: int) -> Arrays:
        """The arrays of a clip, without the batch axis, at the size of a bucket.

        Raises:
            UserError: the clip is longer.
        """
        sizes = self.sizes[bucket]
        for mask, size in sizes.items():
            if mask in arrays and arrays[mask][size:].any():
                raise UserError(
                    f"clip number {arrays['clip']} is longer than the dataset's index says: found step "
                    f"{np.flatnonzero(arrays[mask])[-1] + 1} in {mask}, expected at most {size}; prepare the dataset "
                    "again, or set --config.data.length_buckets='()'"
                )
        return with_steps(arrays, sizes)


def without_common_padding(batch: Arrays, min_samples: int) -> Arrays:
    """Cuts padding shared by all clips: each modality keeps the smallest of `PARTS` that holds its valid steps.

    Args:
        batch: arrays `[B, ...]` from `ClipTransform`; the steps of a modality are their second axis.
        min_samples: minimum number of audio samples to keep; at least one frame and one token are kept.
    """
    kept = {}
    for mask in (*MASKS.values(), *(f"{modality}/mask" for modality in MODALITIES)):
        if mask not in batch:
            continue
        used: np.ndarray = np.any(batch[mask], axis=0)
        needed = len(used) - int(np.argmax(used[::-1])) if used.any() else 0
        fewest = min_samples if mask == MASKS[AUDIO] else 1
        sizes = [fewest, *(max(fewest, math.ceil(part * len(used))) for part in PARTS)]
        kept[mask] = next(size for size in sizes if size >= needed)
    return with_steps(batch, kept, axis=1)


def with_steps(arrays: Arrays, kept: Mapping[str, int], axis: int = 0) -> Arrays:
    """The arrays with the first steps of some modalities.

    Args:
        arrays: of a clip or a batch.
        kept: the number of steps to keep, by the name of a mask; the arrays along with it are cut like it.
        axis: that of the steps, 0 for a clip and 1 for a batch.
    """
    cut = dict(arrays)
    for mask, size in kept.items():
        for name in _along(mask, arrays, axis):
            cut[name] = arrays[name][(slice(None),) * axis + (slice(size),)]
    return cut


def _along(mask: str, arrays: Arrays, axis: int) -> set[str]:
    """The names of the arrays that have the steps of a mask."""
    prefix = mask.removesuffix("mask")
    if mask in RAW:
        names = {RAW[mask], *(name for name in arrays if name.startswith(prefix) and arrays[name].ndim > axis)}
    else:
        names = {f"{prefix}{part}" for part in STEPWISE}
    return names & arrays.keys()
