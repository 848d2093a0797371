"""Ways to fine-tune encoders: LoRA, the last layers, and learning rates that fall with depth; in both stages."""

import shutil

import jax
import numpy as np
import pytest
from flax import traverse_util

from configs import stage2
from emi_jax.encoders.pretrained import load_encoder
from emi_jax.errors import UserError
from emi_jax.runs.evaluation import chosen_params, evaluator, export
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.training import train
from emi_jax.train.optimizer import layer_factors
from emi_jax.train.parameters import fingerprint, merge
from tests.configs import tiny_stage1, tiny_stage2
from tests.fakes import make_dataset

TEXT_ATTENTION = (r"^towers/text/.*/attention/(query|value)/kernel$",)


def make_config(tiny, folder=None, **fields):
    """Text towers of two layers; the towers of faces are frozen, and voices are not read."""
    config = tiny()
    config.model.text.config.num_hidden_layers = 2
    if config.stage == "intensity":
        config.model.modalities = ("vision", "text")
        config.model.head.fusion.update(tcn=False, bilstm=False, decoder=False)
    else:
        config.model.pairs, config.loss.audio = ("vision",), 0.0
    config.train.update(frozen=("^towers/vision/",), epochs=2, evaluate_every=1.0, weight_decay=0.0)
    config.train.select = "last"  # in the first step that counts the factor A has no gradient yet
    if folder:
        config.features.dir = str(folder)
        if config.stage == "intensity":
            config.features.renditions = 1
    config.update_from_flattened_dict(fields)
    return config


def opened(config, workdir):
    return Experiment.open(config, make_dataset(), workdir, jax.devices()[:1])


def trained(config, workdir):
    experiment = opened(config, workdir)
    train(experiment)
    return experiment


def flat(tree):
    return traverse_util.flatten_dict(jax.device_get(tree), sep="/")


def moved(experiment):
    """The paths of the towers' parameters that training has changed."""
    before, after = flat(merge(*experiment.initial_params())), flat(chosen_params(experiment))
    return {path for path in after if path.startswith("towers/") and (before[path] != after[path]).any()}


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A run of stage 1 with LoRA in the text tower and a cache of the others."""
    folder = tmp_path_factory.mktemp("lora")
    config = make_config(tiny_stage1, folder / "features", **{"model.lora.targets": TEXT_ATTENTION})
    config.train.update(save_every=0.5, keep=10)
    return trained(config, folder / "stage1"), folder


def test_lora_trains_the_factors_alone(adapted):
    experiment, _ = adapted
    names = [f"layers_{layer}/attention/{name}" for layer in (0, 1) for name in ("query", "value")]
    factors = {f"towers/text/encoder/transformer/{name}/lora_{factor}" for name in names for factor in "ab"}
    assert moved(experiment) == factors
    assert list(experiment.stage.trained_towers) == ["text"]
    assert {path.name for path in (adapted[1] / "features").iterdir() if path.is_dir()} == {"vision"}


def test_an_adapted_run_resumes_exactly(adapted):
    experiment, folder = adapted
    expected = fingerprint(jax.device_get(chosen_params(experiment)))
    shutil.copytree(folder / "stage1", folder / "parts")
    checkpoints = folder / "parts" / "checkpoints"
    for kept in (checkpoints / "best", checkpoints / "final", *(checkpoints / "last" / step for step in "234")):
        shutil.rmtree(kept)  # as if the run had been killed after its first step
    again = trained(experiment.config, folder / "parts")
    assert fingerprint(jax.device_get(chosen_params(again))) == expected


def test_adapted_encoders_are_exported_as_plain_folders_that_encode_alike(adapted):
    experiment, folder = adapted
    params = chosen_params(experiment)
    exported = export(experiment, params)
    encoder, loaded = load_encoder(exported / "text", "text")
    assert not [path for path in flat(loaded) if "lora" in path]
    initial = flat(load_encoder(folder / "stage1" / "initial" / "text", "text")[1])
    changed = {path for path, leaf in flat(loaded).items() if (leaf != initial[path]).any()}
    assert changed == {
        f"transformer/layers_{layer}/attention/{name}/kernel" for layer in (0, 1) for name in ("query", "value")
    }
    tokens, mask = np.arange(12).reshape(2, 6) + 1, np.ones((2, 6), bool)
    batch = {"tokens": tokens, "token_mask": mask}
    ours = experiment.encoders.towers.apply({"params": params["towers"]}, batch, True, ("text",))["text"]
    for one, other in zip(ours[:2], encoder.apply({"params": loaded}, tokens, mask), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    second = opened(make_config(tiny_stage2, **{"init_from": str(folder / "stage1")}), folder / "stage2")
    assert fingerprint(second.encoders.params["text"]["encoder"]) == fingerprint(loaded)


def test_stage_2_is_adapted_on_cached_features_and_predicts(tmp_path):
    config = make_config(tiny_stage2, tmp_path / "features")
    config.model.lora.targets = stage2.get_config("lora").model.lora.targets
    experiment = trained(config, tmp_path / "run")
    changed = moved(experiment)
    assert changed
    assert all(path.startswith("towers/text/") and "/lora_" in path for path in changed)
    found = evaluator(experiment, "test").gather(chosen_params(experiment))["predictions"]
    example = make_dataset().split("test")[1]
    prediction = next(iter(Predictor.load(tmp_path / "run", devices=jax.devices()[:1]).predict([example])))
    np.testing.assert_allclose(list(prediction.intensities.values()), found[1], atol=1e-3)


def test_the_last_layers_alone_are_trained(tmp_path):
    experiment = trained(make_config(tiny_stage2, **{"train.last_layers.text": 1}), tmp_path)
    changed = moved(experiment)
    assert changed
    assert all(path.startswith("towers/text/encoder/transformer/layers_1/") for path in changed)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model.lora.targets": ("text/.*/querry",)}, "pattern 'text/.*/querry' matches no linear layer of a tower"),
        ({"model.lora.targets": TEXT_ATTENTION, "model.lora.rank": 0}, "rank=0 should be 1 or more"),
        ({"train.last_layers.text": 3}, "train.last_layers.text=3: the run's text encoder has 2 layers"),
        ({"train.layer_decay": 0.0}, r"train.layer_decay=0 should be in \(0, 1\]"),
    ],
)
def test_settings_that_fit_no_encoder_are_refused(fields, message, tmp_path):
    with pytest.raises(UserError, match=message):
        opened(make_config(tiny_stage2, **fields), tmp_path)


def test_learning_rates_fall_with_depth():
    tower = {"embedding": {"words": 0.0}, "transformer": {f"layers_{i}": {"mlp": 0.0} for i in range(3)}}
    params = {"towers": {"text": {"encoder": tower | {"pooler": {"kernel": 0.0}}}}, "fusion": {"queries": 0.0}}
    assert flat(layer_factors(params, 0.5)) == {
        "towers/text/encoder/embedding/words": 0.5**4,
        "towers/text/encoder/transformer/layers_0/mlp": 0.5**3,
        "towers/text/encoder/transformer/layers_1/mlp": 0.5**2,
        "towers/text/encoder/transformer/layers_2/mlp": 0.5,
        "towers/text/encoder/pooler/kernel": 1,
        "fusion/queries": 1,
    }


def test_layers_learn_at_their_rates(tmp_path):
    """Adam's first step moves weights by the learning rate regardless of gradients."""
    fields = {"train.layer_decay": 0.25, "train.epochs": 1, "train.warmup_epochs": 0.0, "train.clip_norm": 0.0}
    config = make_config(tiny_stage2, **fields)
    config.train.batch_size = 12
    experiment = trained(config, tmp_path)
    before, after = flat(merge(*experiment.initial_params())), flat(chosen_params(experiment))
    step = {
        layer: np.abs(after[path] - before[path]).max()
        for layer in (0, 1)
        for path in [f"towers/text/encoder/transformer/layers_{layer}/mlp/hidden/kernel"]
    }
    np.testing.assert_allclose(step[0] / step[1], 0.25, rtol=0.05)
