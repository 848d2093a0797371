"""A tower counts as frozen if it has no trained parameter, in both stages."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import traverse_util

from emi_jax.runs.evaluation import chosen_params
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.parameters import merge
from tests.configs import tiny_stage1, tiny_stage2
from tests.fakes import make_dataset

LAYER = "/layers_1/"
PARTLY = ("^towers/vision/", "^towers/text/(?!.*layers_1/)")


def partly_trained(dtype="float32"):
    """A config in which the last of two text layers is trained."""
    config = tiny_stage2()
    config.model.modalities, config.model.dtype = ("vision", "text"), dtype
    config.model.head.fusion.update(width=8, num_heads=2, tcn=False, bilstm=False, decoder=False)
    config.model.text.config.num_hidden_layers = 2
    config.train.update(frozen=PARTLY, epochs=2, evaluate_every=1.0, weight_decay=0.0, warmup_epochs=0.0)
    return config


def first_clip(experiment):
    """The arrays of the first training clip."""
    return experiment.transform(make_dataset().split("train")[0], np.random.default_rng(0), 0)


def test_only_the_unfrozen_layers_of_a_partly_trained_tower_change(tmp_path):
    config = partly_trained("bfloat16")
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1])
    assert list(experiment.stage.trained_towers) == ["text"]
    train(experiment)
    train(Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1]))  # the saved checkpoint fits the run
    before, _ = experiment.initial_params()
    after = traverse_util.flatten_dict(jax.device_get(experiment.split(chosen_params(experiment))[0]), sep="/")
    moved = {
        path: np.abs(after[path] - leaf).max() for path, leaf in traverse_util.flatten_dict(before, sep="/").items()
    }
    layer = {path: distance for path, distance in moved.items() if path.startswith("towers/")}
    assert layer
    assert all(LAYER in path for path in layer)
    assert all(distance > 0 for path, distance in layer.items() if not path.endswith("key/bias"))  # no gradient
    assert {leaf.dtype for leaf in after.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("frozen", "drops"), [(PARTLY[1], True), ("^towers/text/", False)])
def test_a_partly_trained_tower_of_stage_2_runs_with_dropout(frozen, drops, tmp_path):
    config = partly_trained()
    config.model.modalities, config.train.frozen = ("text",), (frozen,)
    config.model.text.config.hidden_dropout_prob = 0.4
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1])
    stage, params = experiment.stage, merge(*experiment.initial_params())
    batch = {name: np.stack([array] * 2) for name, array in first_clip(experiment).items()}
    loss = Mapping("shard_map", jax.devices()[:1]).map(
        lambda params, batch, rng: stage.loss(stage.outputs(params, batch, rng), batch)[0],
        (REPLICATED, SHARDED, REPLICATED),
        output=REPLICATED,
    )
    one, other = (float(loss(params, batch, jax.random.PRNGKey(seed))) for seed in (0, 1))
    assert (one != other) == drops


def test_features_of_a_partly_trained_tower_are_not_cached(tmp_path):
    config = partly_trained()
    config.features.update(dir=str(tmp_path / "features"), renditions=1)
    train(Experiment.open(config, make_dataset(), tmp_path / "run", jax.devices()[:1]))
    assert [path.name for path in (tmp_path / "features").iterdir() if path.is_dir()] == ["vision"]


@pytest.mark.parametrize(
    ("trained", "same"), [((), {"vision": True, "text": True}), (("text",), {"vision": True, "text": False})]
)
def test_frozen_towers_of_stage_1_run_without_dropout(trained, same, tmp_path):
    config = tiny_stage1()
    config.model.pairs, config.loss.audio = ("vision",), 0.0
    config.model.text.config.hidden_dropout_prob = config.model.vision.config.hidden_dropout_prob = 0.4
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1])
    stage = dataclasses.replace(experiment.stage, trained_towers=trained)
    params = stage.init(jax.random.key(0), {})
    batch = {name: np.stack([array] * 2) for name, array in first_clip(experiment).items()}
    outputs = Mapping("shard_map", jax.devices()[:1]).map(
        stage.outputs, (REPLICATED, SHARDED, REPLICATED), output=SHARDED
    )
    one, other = (outputs(params, batch, jax.random.PRNGKey(seed))["vision"][0] for seed in (0, 1))
    found = {name: bool(np.array_equal(one[place], other[place])) for place, name in enumerate(("vision", "text"))}
    assert found == same


def test_audio_too_short_for_a_single_step_is_in_no_pair(tmp_path):
    config = tiny_stage1()
    config.model.pairs, config.loss.vision = ("audio",), 0.0
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1])
    example = dict(make_dataset().split("train")[0])
    rng, shortest = np.random.default_rng(0), experiment.encoders.min_samples
    clips = [
        experiment.transform(example | {"audio": example["audio"][:length]}, rng, 0)
        for length in (shortest - 1, shortest, 0)
    ]
    batch = {name: np.stack([clip[name] for clip in clips]) for name in clips[0]}
    assert batch["present"][:, 1].tolist() == [True, True, False]
    outputs = jax.jit(experiment.stage.forward)(experiment.stage.init(jax.random.key(0), {}), batch)
    assert outputs["audio/both"].tolist() == [False, True, False]
