"""Batches: threads read and transform clips ahead of the step, in an order that depends only on the seed."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import grain
import numpy as np

from emi_jax.inputs.sampling import AUGMENTATION, PADDING, Epochs, generator
from emi_jax.inputs.transforms import Arrays, Transform


class RandomAccess(Protocol):
    """A split: examples by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


THREADS = 2
AHEAD = 4
"""Number of batches kept ready on the host."""


class _Batches:
    """Random access to this process's batches by number, for grain."""

    def __init__(self, examples: RandomAccess, transform: Transform, plan: Epochs, seed: int, share: slice):
        self._examples, self._transform, self._plan, self._seed, self._share = examples, transform, plan, seed, share

    def __len__(self) -> int:
        return 2**31

    def __getitem__(self, step: int) -> Arrays:
        indices = self._plan.batch(step)
        places = range(*self._share.indices(len(indices)))
        clips = [self._clip(step, place, int(indices[place])) for place in places]
        if buckets := self._plan.buckets:
            bucket = self._plan.bucket(step)
            clips = [buckets.cut(clip, bucket) for clip in clips]
        return {name: np.stack([clip[name] for clip in clips]) for name in clips[0]}

    def _clip(self, step: int, place: int, index: int) -> Arrays:
        if index == PADDING:
            return self._transform.padding
        # Without an order of clips that is drawn, what is drawn for a clip does not depend on its place.
        number = index if self._plan.seed is None else step * self._plan.batch_size + place
        rng = generator(self._seed, AUGMENTATION, number)
        return self._transform(self._examples[index], rng, index)


def batches(
    examples: RandomAccess,
    transform: Transform,
    plan: Epochs,
    *,
    seed: int = 0,
    first_step: int = 0,
    steps: int | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Arrays]:
    """Yields this process's share of the batches, starting at a given step.

    Batch number i is a pure function of (examples, transform, plan, seed, i): to resume from a checkpoint, start at
    its step. Each process reads one contiguous part of every global batch.

    Args:
        examples: the examples of a split.
        transform: from an example to arrays.
        plan: assigns clips to batches.
        seed: seeds augmentation and corruption.
        first_step: number of the first batch.
        steps: number of batches; None for endless.
        process_index: index of the share of each batch.
        process_count: number of shares; must divide the plan's batch size.

    Yields:
        Arrays [batch_size / process_count, ...], named as by the transform; with buckets, at the size of the batch's.
    """
    local = plan.batch_size // process_count
    share = slice(process_index * local, (process_index + 1) * local)
    source = grain.MapDataset.source(_Batches(examples, transform, plan, seed, share))
    stop = None if steps is None else first_step + steps
    ahead = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
    return iter(source.slice(slice(first_step, stop)).to_iter_dataset(ahead))


def to_device(host_batches: Iterator[Arrays], put: Callable[[Arrays], Any]) -> Iterator[Any]:
    """Transfers the next batch in a thread while the step processes the current one; the sequence is unchanged."""
    with ThreadPoolExecutor(1, "to-device") as thread:
        sent = thread.submit(_send_next, host_batches, put)
        while batch := sent.result():
            sent = thread.submit(_send_next, host_batches, put)
            yield from batch


def _send_next(host_batches: Iterator[Arrays], put: Callable[[Arrays], Any]) -> tuple[Any, ...]:
    """The next batch on the devices, as a tuple; empty after the last one."""
    return tuple(map(put, itertools.islice(host_batches, 1)))
