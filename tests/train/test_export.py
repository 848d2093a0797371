"""The steps of both stages can be lowered for CPUs, NVIDIA GPUs and TPUs without having the hardware."""

import jax
import numpy as np
import optax
import pytest
from jax import export

from emi_jax.runs.experiment import Experiment
from emi_jax.train.averaging import exponential
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.parameters import split
from emi_jax.train.step import create_state, make_step
from tests.configs import tiny_stage1, tiny_stage2
from tests.fakes import make_dataset

PLATFORMS = ("cpu", "cuda", "tpu")
DEVICES = 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("make_config", [tiny_stage1, tiny_stage2])
def test_the_step_is_exported_for_three_platforms(make_config, dtype, tmp_path):
    """Only shapes are needed; towers and attention are those of a real run."""
    config = make_config()
    config.model.attention, config.model.dtype = "xla", dtype
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:DEVICES])
    rng, stage, optimizer = jax.random.PRNGKey(0), experiment.stage, optax.adamw(1e-3)
    trained, frozen = split(jax.eval_shape(lambda: stage.init(rng, {})), config.train.frozen, "frozen")
    state = jax.eval_shape(lambda params, rest: create_state(params, rest, optimizer, averaged=True), trained, frozen)
    batch = {name: np.stack([array] * 8) for name, array in experiment.transform.padding.items()}
    mapping = Mapping("shard_map", experiment.mapping.devices)
    step = mapping.map(make_step(stage, optimizer, exponential(0.9)), (REPLICATED, SHARDED, REPLICATED), donate=(0,))

    exported = export.export(step, platforms=PLATFORMS)(state, batch, rng)
    assert exported.platforms == PLATFORMS
    assert exported.nr_devices == DEVICES
    after, metrics = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    assert jax.tree.map(np.shape, after) == jax.tree.map(np.shape, state)
    assert metrics["loss"].shape == ()
