"""Assigns clips to batches as a pure function of (seed, step), so that a run resumes exactly at any step."""

import dataclasses
import functools

import numpy as np

PADDING = -1
SHUFFLE, AUGMENTATION, RENDITION = 1, 2, 3
"""Uses of a run's seed on the host; each draws from a separate random stream."""


@dataclasses.dataclass(frozen=True)
class Epochs:
    """Divides every epoch into batches of nearly equal size; each clip occurs exactly once.

    An epoch of n clips has ceil(n / batch_size) batches. Their sizes differ by at most one clip, so there is no small
    last batch; unused places are padding, which is excluded from losses and metrics.

    Attributes:
        num_clips: n, the number of clips in the split.
        batch_size: number of places in a global batch.
        seed: determines the order of the clips; None keeps the order of the split.
    """

    num_clips: int
    batch_size: int
    seed: int | None

    @property
    def steps(self) -> int:
        """Number of batches in one epoch."""
        return -(-self.num_clips // self.batch_size)

    def batch(self, step: int) -> np.ndarray:
        """Indices of the clips in the batch of a global step, int64 [batch_size], `PADDING` at unused places."""
        epoch, part = divmod(step, self.steps)
        start, stop = (self.num_clips * edge // self.steps for edge in (part, part + 1))
        indices = np.full(self.batch_size, PADDING)
        indices[: stop - start] = self._order(epoch)[start:stop]
        return indices

    def _order(self, epoch: int) -> np.ndarray:
        return np.arange(self.num_clips) if self.seed is None else _shuffled(self.num_clips, self.seed, epoch)


@functools.lru_cache(maxsize=4)
def _shuffled(count: int, seed: int, epoch: int) -> np.ndarray:
    return generator(seed, SHUFFLE, epoch).permutation(count)


def generator(seed: int, use: int, number: int) -> np.random.Generator:
    """The generator of one use of a seed; `number` counts epochs for `SHUFFLE`, clips read for `AUGMENTATION`.

    For `RENDITION` the number of a copy in the feature cache takes the place of the seed, and `number` is a clip's row.
    """
    return np.random.Generator(np.random.Philox(key=[seed, number], counter=[0, 0, 0, use]))
