"""Batches: threads read and transform clips ahead of the step, in an order that depends only on the seed."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, runtime_checkable

import grain
import numpy as np
from joblib import cpu_count

from emi_jax.inputs.sampling import AUGMENTATION, PADDING, Epochs, generator
from emi_jax.inputs.transforms import Arrays, Transform


class RandomAccess(Protocol):
    """A split: examples by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@runtime_checkable
class Rows(Protocol):
    """A split whose clips are the same in every step."""

    @property
    def rows(self) -> Arrays:
        """The arrays of all clips [n + 1, ...], the last row those of an unused place."""


AHEAD = 4
"""Number of batches whose clips are kept ready on the host."""


class _Clips:
    """Random access to the clips of this process's places, batch after batch, for grain."""

    def __init__(self, examples: RandomAccess, transform: Transform, plan: Epochs, seed: int, share: range):
        self._examples, self._transform, self._plan, self._seed, self._share = examples, transform, plan, seed, share

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, number: int) -> Arrays:
        step, place = number // len(self._share), self._share[number % len(self._share)]
        clip = self._clip(step, place, int(self._plan.batch(step)[place]))
        buckets = self._plan.buckets
        return buckets.cut(clip, self._plan.bucket(step)) if buckets else clip

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
    threads: int = 0,
) -> Iterator[Arrays]:
    """Yields this process's share of the batches, starting at a given step.

    Batch number i is a pure function of (examples, transform, plan, seed, i): to resume from a checkpoint, start at
    its step. Each process reads one contiguous part of every global batch.

    Args:
        examples: the examples of a split; those with `Rows` are gathered, all clips of a batch at once, as
            their own transform made them.
        transform: from an example to arrays.
        plan: assigns clips to batches.
        seed: seeds augmentation and corruption.
        first_step: number of the first batch.
        steps: number of batches; None for endless.
        process_index: index of the share of each batch.
        process_count: number of shares; must divide the plan's batch size.
        threads: that read and transform clips; 0 for as many as the process has cores.

    Yields:
        Arrays [batch_size / process_count, ...], named as by the transform; with buckets, at the size of the batch's.
    """
    local = plan.batch_size // process_count
    share = range(process_index * local, (process_index + 1) * local)
    if isinstance(examples, Rows) and not plan.buckets:
        return _gathered(examples.rows, plan, share, first_step, steps)
    clips = grain.MapDataset.source(_Clips(examples, transform, plan, seed, share))
    stop = None if steps is None else (first_step + steps) * local
    ahead = grain.ReadOptions(num_threads=threads or cpu_count(), prefetch_buffer_size=AHEAD * local)
    return iter(clips.slice(slice(first_step * local, stop)).to_iter_dataset(ahead).batch(local, batch_fn=stack))


def _gathered(rows: Arrays, plan: Epochs, share: range, first_step: int, steps: int | None) -> Iterator[Arrays]:
    for step in itertools.islice(itertools.count(first_step), steps):
        chosen = plan.batch(step)[share.start : share.stop]  # `PADDING` is the last row
        yield {name: array[chosen] for name, array in rows.items()}


def stack(clips: Sequence[Arrays]) -> Arrays:
    """The arrays of several clips as one each, [n, ...]."""
    return {name: np.stack([clip[name] for clip in clips]) for name in clips[0]}


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
