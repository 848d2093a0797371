"""Every clip once an epoch, in an order that depends on the seed and the epoch alone."""

import numpy as np
import pytest

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
