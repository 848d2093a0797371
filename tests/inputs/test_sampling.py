"""Every clip once an epoch, in an order that depends on the seed and the epoch alone; with buckets, by length."""

import numpy as np
import pytest

from emi_jax.inputs.lengths import LengthBuckets
from emi_jax.inputs.sampling import PADDING, Epochs


@pytest.mark.parametrize(("clips", "batch"), [(12, 4), (13, 4), (1, 4), (4, 4), (601, 64)])
def test_an_epoch_holds_each_clip_once_in_batches_of_nearly_equal_size(clips, batch):
    plan = Epochs(clips, batch, seed=3)
    for epoch in (0, 1, 7):
        rows = [plan.batch(epoch * plan.steps + part) for part in range(plan.steps)]
        sizes = [int((row != PADDING).sum()) for row in rows]
        assert all(row.shape == (batch,) for row in rows)
        assert max(sizes) - min(sizes) <= 1
        taken = np.concatenate([row[row != PADDING] for row in rows])
        assert sorted(taken) == list(range(clips))


def test_order_changes_with_seed_and_epoch_and_repeats():
    def order(seed, epoch):
        return Epochs(100, 100, seed).batch(epoch).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert Epochs(5, 5, None).batch(9).tolist() == [0, 1, 2, 3, 4]


def bucketed(clips, batch, seed):
    """A plan of clips in three buckets, the middle one the smallest."""
    chosen = np.random.default_rng(0).choice(3, clips, p=(0.4, 0.1, 0.5))
    return Epochs(clips, batch, seed, LengthBuckets(chosen, ({}, {}, {})))


def epoch(plan, number):
    """The clips of each batch of an epoch, and the bucket of each."""
    steps = range(number * plan.steps, (number + 1) * plan.steps)
    return [row[row != PADDING] for row in map(plan.batch, steps)], [plan.bucket(step) for step in steps]


@pytest.mark.parametrize(("clips", "batch"), [(12, 4), (13, 4), (1, 4), (601, 64), (601, 7)])
@pytest.mark.parametrize("seed", [3, None])
def test_with_buckets_an_epoch_holds_each_clip_once_and_leftovers_move_to_the_next_larger_bucket(clips, batch, seed):
    plan = bucketed(clips, batch, seed)
    of_clips = plan.buckets.of_clips
    for number in (0, 1, 7):
        batches, buckets = epoch(plan, number)
        assert sorted(np.concatenate(batches)) == list(range(clips))
        sizes = list(map(len, batches))
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= batch
        moved = np.zeros(3, int)
        for clip_rows, bucket in zip(batches, buckets, strict=True):
            found = of_clips[clip_rows]
            assert found.max() == bucket
            for small in set(found.tolist()) - {bucket}:
                moved[small] += (found == small).sum()
        assert (moved < batch).all()  # fewer than a batch of each bucket


def test_with_buckets_the_plan_is_a_function_of_seed_and_epoch_and_of_nothing_else():
    def order(seed, number):
        return np.concatenate(epoch(bucketed(100, 8, seed), number)[0]).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({str(order(seed, number)) for seed in (0, 1) for number in (0, 1)}) == 4


def test_batches_of_different_lengths_are_mixed_and_all_seeds_have_the_same_length_in_a_step():
    orders = [epoch(bucketed(601, 16, seed), 2)[1] for seed in (0, 1, 2)]
    assert orders[0] == orders[1] == orders[2]
    assert orders[0] != sorted(orders[0])
    assert orders[0] != epoch(bucketed(601, 16, 0), 3)[1]
    assert epoch(bucketed(601, 16, None), 2)[1] == sorted(orders[0])
