"""Each use of a run's seed draws from a separate random stream."""

import jax
import numpy as np

from emi_jax.inputs.loader import batches
from emi_jax.inputs.sampling import SHUFFLE, Epochs, generator
from emi_jax.train.seeds import INIT, STEP, key

COUNT = 4


def keys_of(root):
    """The keys derived from a key by splitting it and by folding in numbers, two levels deep."""
    first = [*jax.random.split(root, COUNT), *(jax.random.fold_in(root, number) for number in range(COUNT))]
    second = [jax.random.fold_in(parent, number) for parent in first for number in range(COUNT)]
    return {tuple(np.asarray(found).tolist()) for found in (root, *first, *second)}


def test_initial_parameters_and_steps_share_no_key():
    assert not keys_of(key(0, INIT)) & keys_of(key(0, STEP))
    assert not keys_of(key(0, INIT)) & keys_of(key(1, INIT))


def test_the_order_of_clips_and_their_augmentation_share_no_random_numbers():
    drawn = []

    class Drawing:
        padding = None

        def __call__(self, example, rng, index):
            drawn.append(rng.integers(2**62))
            return {"clip": np.asarray(index)}

    plan = Epochs(COUNT, COUNT, seed=0)
    next(batches(list(range(COUNT)), Drawing(), plan, seed=0, steps=1))
    shuffles = [generator(0, SHUFFLE, epoch).integers(2**62) for epoch in range(COUNT)]
    assert len({*drawn, *shuffles}) == 2 * COUNT
