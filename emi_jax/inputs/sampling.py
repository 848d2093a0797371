"""Assigns clips to batches as a pure function of (seed, step), so that a run resumes exactly at any step."""

import dataclasses
import functools

import numpy as np

from emi_jax.inputs.lengths import LengthBuckets

PADDING = -1
SHUFFLE, AUGMENTATION, RENDITION, BATCHES = 1, 2, 3, 4
"""Uses of a run's seed on the host; each draws from a separate random stream."""
KEPT_ORDERS = 32
"""Number of orders that are remembered; several seeds that are trained side by side have one each."""


@dataclasses.dataclass(frozen=True)
class Epochs:
    """Divides every epoch into batches of nearly equal size; each clip occurs exactly once.

    An epoch of n clips has ceil(n / batch_size) batches. Their sizes differ by at most one clip, so there is no small
    last batch; unused places are padding, which is excluded from losses and metrics.

    With buckets, the clips of a batch come from one bucket. Where the clips of a bucket do not fill their last batch,
    clips of the next larger bucket fill it, and it has that one's size. The order of the batches is drawn for each
    epoch, whatever the seed: batches of several seeds, which are stacked, have the same size in every step.

    Attributes:
        num_clips: n, the number of clips in the split.
        batch_size: number of places in a global batch.
        seed: determines the order of the clips; None keeps the order of the split, from short to long with buckets.
        buckets: of the clips by their length; None pads all batches alike.
    """

    num_clips: int
    batch_size: int
    seed: int | None
    buckets: LengthBuckets | None = None

    @property
    def steps(self) -> int:
        """Number of batches in one epoch."""
        return -(-self.num_clips // self.batch_size)

    def batch(self, step: int) -> np.ndarray:
        """Indices of the clips in the batch of a global step, int64 [batch_size], `PADDING` at unused places."""
        clips = self._clips(step)
        return np.concatenate([clips, np.full(self.batch_size - len(clips), PADDING)])

    def bucket(self, step: int) -> int:
        """The bucket whose size the batch of a global step has: that of its longest clip."""
        return int(self.buckets.of_clips[self._clips(step)].max()) if self.buckets else 0

    def _clips(self, step: int) -> np.ndarray:
        epoch, part = divmod(step, self.steps)
        if self.buckets and self.seed is not None:
            part = int(_shuffled(self.steps, 0, BATCHES, epoch)[part])
        start, stop = (self.num_clips * edge // self.steps for edge in (part, part + 1))
        return _order(self.num_clips, self.seed, epoch, self.buckets)[start:stop]


@functools.lru_cache(maxsize=KEPT_ORDERS)
def _order(count: int, seed: int | None, epoch: int, buckets: LengthBuckets | None) -> np.ndarray:
    """The clips of an epoch in their order; with buckets, from short to long."""
    order = np.arange(count) if seed is None else _shuffled(count, seed, SHUFFLE, epoch)
    return order[np.argsort(buckets.of_clips[order], kind="stable")] if buckets else order


@functools.lru_cache(maxsize=KEPT_ORDERS)
def _shuffled(count: int, seed: int, use: int, epoch: int) -> np.ndarray:
    return generator(seed, use, epoch).permutation(count)


def generator(seed: int, use: int, number: int) -> np.random.Generator:
    """The generator of one use of a seed; `number` counts epochs for `SHUFFLE`, clips read for `AUGMENTATION`.

    For `RENDITION` the number of a copy in the feature cache takes the place of the seed, and `number` is a clip's row.
    For `BATCHES`, in which `number` counts epochs, 0 takes the place of the seed.
    """
    return np.random.Generator(np.random.Philox(key=[seed, number], counter=[0, 0, 0, use]))
