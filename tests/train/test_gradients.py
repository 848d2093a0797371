"""Gradients and ten training steps are the same for any number of devices, mapping and accumulation."""

import functools

import jax
import numpy as np
import optax
import pytest
from flax import traverse_util

from emi_jax.errors import UserError
from emi_jax.models.contrastive import SIGMOID
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train as run
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.optimizer import make_optimizer, schedule
from emi_jax.train.step import make_step
from tests.configs import tiny_stage1
from tests.fakes import make_dataset
from tests.train.stages import begin, make_batch, remember_gradients, tiny_alignment, tiny_intensity, tiny_params

STAGES = {
    "stage1": tiny_alignment,
    "stage1, sigmoid": functools.partial(tiny_alignment, SIGMOID),
    "stage2": tiny_intensity,
}
TEN = 10
FLOOR = 1e-6
"""Fraction of the largest norm below which the true gradient is zero, as for the bias of an attention key."""


def train(stage, kind="shard_map", devices=1, accumulation=1):
    """The gradients of the first step by path, and the losses and parameters of ten steps."""
    rate = schedule(1e-3, 1e-4, 2, TEN)
    optimizer = make_optimizer(tiny_params(stage), rate, weight_decay=0.1, clip_norm=1.0, rate_factors=[(".*", 1.0)])
    optimizer = optax.chain(remember_gradients(), optimizer)
    mapping = Mapping(kind, jax.devices()[:devices])
    step = mapping.map(make_step(stage, optimizer, None, accumulation), (REPLICATED, SHARDED, REPLICATED))
    state, rng = mapping.replicate((begin(stage, optimizer), jax.random.PRNGKey(0)))
    losses = []
    for number in range(TEN):
        state, metrics = step(state, mapping.put(make_batch(number)), rng)
        gradients = state.opt_state[0] if number == 0 else gradients  # noqa: F821
        losses.append(float(metrics["loss"]))
    return flat(gradients), np.array(losses), flat(state.params)


def flat(tree):
    return {path: np.asarray(leaf) for path, leaf in traverse_util.flatten_dict(tree, sep="/").items()}


@functools.cache
def whole(name):
    """The reference: one device that processes the whole batch at once, by `shard_map`."""
    return train(STAGES[name]())


def norm(array):
    return np.linalg.norm(array.astype(np.float64))


@pytest.mark.parametrize(
    ("kind", "devices", "accumulation"),
    [
        *(("pmap", devices, 1) for devices in (1, 2, 8)),
        *(("shard_map", devices, 1) for devices in (2, 8)),
        ("shard_map", 1, 8),
        ("pmap", 4, 2),
    ],
)
@pytest.mark.parametrize("name", STAGES)
def test_every_mapping_and_accumulation_equals_one_device_with_the_whole_batch(name, kind, devices, accumulation):
    gradients, losses, params = train(STAGES[name](), kind, devices, accumulation)
    expected, expected_losses, expected_params = whole(name)
    assert gradients.keys() == expected.keys()
    floor = FLOOR * max(map(norm, expected.values()))
    for path, gradient in expected.items():
        assert norm(gradients[path] - gradient) <= 1e-5 * norm(gradient) + floor, path
        if norm(gradient) > floor:  # Adam turns the rounding error of a zero into full steps
            assert norm(params[path] - expected_params[path]) <= 1e-4 * norm(expected_params[path]), path
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-4)
    assert np.ptp(losses) > 0


@pytest.mark.parametrize("stage", [tiny_alignment(), tiny_intensity(dropout=0.3)])
def test_chunks_are_replayed_with_the_same_dropout(stage):
    """Checks the gradient by central differences along itself, which would disagree with other masks in the replay."""
    mapping = Mapping("shard_map", jax.devices()[:1])
    memory = remember_gradients()
    step = mapping.map(make_step(stage, memory, accumulation=4), (REPLICATED, SHARDED, REPLICATED))
    state, batch, rng = begin(stage, memory), make_batch(), jax.random.PRNGKey(3)

    def at(params):
        after, metrics = step(state.replace(params=params), batch, rng)
        return after.opt_state, float(metrics["loss"])

    gradient, _ = at(state.params)
    length = optax.tree.norm(gradient)
    shift = jax.tree.map(lambda leaf: 1e-2 * leaf / length, gradient)
    _, above = at(jax.tree.map(np.add, state.params, shift))
    _, below = at(jax.tree.map(np.subtract, state.params, shift))
    assert (above - below) / 2e-2 == pytest.approx(float(length), rel=2e-2)


def test_an_accumulation_that_does_not_divide_the_batch_of_a_device_is_an_error(tmp_path):
    config = tiny_stage1()
    config.train.accumulation = 3
    with pytest.raises(UserError, match=r"accumulation=3 does not divide the 4 clips of a device.*use one of 1, 2, 4"):
        run(Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:2]))
