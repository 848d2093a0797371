"""Which clip goes into which batch: a pure function of (seed, step), so that a run resumes exactly at any step."""

import dataclasses
import functools

import numpy as np

PADDING = -1
SHUFFLE, AUGMENTATION = 1, 2
"""Uses of a run's seed on the host: each draws from a stream of its own."""


@dataclasses.dataclass(frozen=True)
class Epochs:
    """Cuts every epoch into batches of nearly equal size, each clip exactly once.

    An epoch of n clips has ceil(n / batch_size) batches. Their sizes differ by at most one clip, so no batch is a
    small rest; places that stay free are padding, which takes no part in losses and metrics.

    Attributes:
        num_clips: n, clips in the split.
        batch_size: places in a global batch.
        seed: order of the clips; None keeps the order of the split.
    """

    num_clips: int
    batch_size: int
    seed: int | None

    @property
    def steps(self) -> int:
        """Batches in one epoch."""
        return -(-self.num_clips // self.batch_size)

    def batch(self, step: int) -> np.ndarray:
        """Indices of the clips in the batch of a global step, int64 [batch_size], `PADDING` at free places."""
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
    """The random numbers of one use of a seed: `number` is an epoch's for `SHUFFLE`, a clip's for `AUGMENTATION`."""
    return np.random.Generator(np.random.Philox(key=[seed, number], counter=[0, 0, 0, use]))
