"""The steps of both stages can be lowered for CPUs, NVIDIA GPUs and TPUs, none of which need be at hand."""

import jax
import numpy as np
import pytest
from jax import export

from emi_jax.experiment import Experiment
from tests.configs import tiny_stage1, tiny_stage2
from tests.fakes import make_dataset

PLATFORMS = ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("config", [tiny_stage1(), tiny_stage2()], ids=["stage1", "stage2"])
def test_the_step_is_exported_for_three_platforms(config, tmp_path):
    config.train.mapping = "shard_map"
    config.model.attention = "xla"
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:2])
    step, begun = experiment._begin(lambda _: 1e-3)
    padding = experiment.transform.padding
    batch = experiment.mapping.put({name: np.stack([array] * 8) for name, array in padding.items()})
    exported = export.export(step, platforms=PLATFORMS)(begun.state, batch, begun.rng)
    assert exported.platforms == PLATFORMS
    assert exported.nr_devices == 2
    state, metrics = jax.tree.unflatten(exported.out_tree, exported.out_avals)
    assert jax.tree.map(np.shape, state) == jax.tree.map(np.shape, begun.state)
    assert metrics["loss"].shape == ()
