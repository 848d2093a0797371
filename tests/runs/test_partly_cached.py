"""Features of frozen encoders are read from the cache while other encoders or mixes of layers are trained."""

import logging
import shutil

import jax
import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.inputs.loader import batches
from emi_jax.inputs.sampling import Epochs
from emi_jax.inputs.windows import length
from emi_jax.runs.evaluation import chosen_params, evaluator
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import extract, inputs
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.training import train
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.parameters import fingerprint, merge
from tests.configs import tiny_stage1, tiny_stage2
from tests.fakes import make_dataset


def tuning_text(tiny, folder, modalities=("vision", "text")):
    """A config that trains the text tower alone; the other features are cached if a folder is given."""
    config = tiny()
    config.train.frozen, config.train.epochs = tuple(f"^towers/{name}/" for name in modalities if name != "text"), 2
    config.features.dir = str(folder or "")
    if config.stage == "intensity":
        config.model.modalities = modalities
        config.model.head.fusion.update(tcn=False, bilstm=False, decoder=False)
        config.features.renditions, config.train.corrupt = (1 if folder else 0), 0.3
    else:
        config.model.pairs = tuple(name for name in modalities if name != "text")
        config.loss.audio = 1.0 if "audio" in modalities else 0.0
    return config


def opened(config, workdir):
    return Experiment.open(config, make_dataset(), workdir, jax.devices()[:1])


def first_batch(experiment, augment=False, split="train"):
    examples, transform = inputs(experiment, split, augment)
    return next(batches(examples, transform, Epochs(len(examples), 8, seed=None)))


def loss_and_gradients(experiment, batch):
    """Of the trained parameters in training mode, by the step's own function of them."""
    stage = experiment.stage
    trained, frozen = experiment.initial_params()

    def value(trained, batch, rng):
        return stage.loss(stage.outputs(merge(trained, frozen), batch, rng), batch)[0]

    mapped = Mapping("shard_map", jax.devices()[:1]).map(
        jax.value_and_grad(value), (REPLICATED, SHARDED, REPLICATED), output=REPLICATED
    )
    return jax.device_get(mapped(trained, batch, jax.random.PRNGKey(3)))


def with_readouts(config):
    """Reads layers and learned means of them out of all encoders."""
    config.model.vision.update(layers="mix", pooling="attention")
    config.model.audio.layers = config.model.text.layers = "0,-1"
    if config.stage == "alignment":
        config.model.audio.pooling, config.model.text.pooling = "attention", "mean"
    return config


@pytest.mark.parametrize(("tiny", "reads"), [(tiny_stage1, False), (tiny_stage2, True)])
def test_loss_and_gradients_equal_those_without_a_cache(tiny, reads, tmp_path):
    """To the rounding of cached features, float16 but for the vectors of stage 1."""
    found = {}
    for name, folder in (("cached", tmp_path / "features"), ("raw", None)):
        config = tuning_text(tiny, folder, ("vision", "audio", "text"))
        experiment = opened(with_readouts(config) if reads else config, tmp_path / name)
        batch = first_batch(experiment)
        assert ("frames" in batch, "audio" in batch, "tokens" in batch) == (name == "raw", name == "raw", True)
        found[name] = *loss_and_gradients(experiment, batch), batch["present"]
    tolerance = 1e-5 if tiny is tiny_stage1 and not reads else 3e-3
    np.testing.assert_allclose(found["cached"][0], found["raw"][0], rtol=tolerance)
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(found["raw"][1]))
    for one, other in zip(*(jax.tree.leaves(found[name][1]) for name in ("cached", "raw")), strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * largest)
    np.testing.assert_array_equal(found["cached"][2], found["raw"][2])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that trained the text tower next to cached features, and has kept all its checkpoints."""
    folder = tmp_path_factory.mktemp("partly")
    config = tuning_text(tiny_stage2, folder / "features")
    config.train.update(save_every=0.5, keep=10)
    experiment = opened(config, folder / "whole")
    train(experiment)
    return experiment


def test_resume_is_exact_and_leaves_cached_encoders_as_they_were(whole, tmp_path):
    config, expected = whole.config, jax.device_get(chosen_params(whole))
    shutil.copytree(whole.workdir.path, tmp_path / "parts")
    checkpoints = tmp_path / "parts" / "checkpoints"
    for kept in (checkpoints / "best", checkpoints / "final", *(checkpoints / "last" / step for step in "234")):
        shutil.rmtree(kept)  # as if the run had been killed after its first step
    parts = opened(config, tmp_path / "parts")
    train(parts)
    assert fingerprint(jax.device_get(chosen_params(parts))) == fingerprint(expected)
    before = merge(*whole.initial_params())["towers"]
    same = {name: fingerprint(before[name]) == fingerprint(expected["towers"][name]) for name in before}
    assert same == {"vision": True, "text": False}


@pytest.mark.parametrize("tiny", [tiny_stage1, tiny_stage2])
def test_mixes_of_frozen_layers_are_trained_and_evaluated(tiny, tmp_path):
    config = with_readouts(tuning_text(tiny, tmp_path / "features"))
    if tiny is tiny_stage1:
        config.model.text.pooling = "attention"
    experiment = opened(config, tmp_path / "run")
    train(experiment)
    readouts = jax.device_get(chosen_params(experiment))["readouts"]
    assert {name: sorted(parts) for name, parts in readouts.items()} == {
        "vision": ["mix", "step_pooling"],
        "text": ["clip_pooling", "mix"] if tiny is tiny_stage1 else ["mix"],
    }
    moved = jax.tree.map(lambda leaf: float(np.ptp(leaf)), readouts)
    assert all(distance > 0 for distance in jax.tree.leaves(moved)), moved
    outputs = evaluator(experiment, "test").gather(chosen_params(experiment))
    config.features.dir = ""
    if tiny is tiny_stage2:
        config.features.renditions = 0
    raw = evaluator(opened(config, tmp_path / "run"), "test").gather(chosen_params(experiment))
    name = "predictions" if tiny is tiny_stage2 else "vision/left"
    np.testing.assert_allclose(outputs[name], raw[name], atol=3e-3)


def test_corrupted_steps_are_flagged_in_cached_and_in_raw_modalities(tmp_path):
    config = tuning_text(tiny_stage2, tmp_path / "features")
    config.train.corrupt = 1.0
    experiment = opened(config, tmp_path / "run")
    corrupted, clean = first_batch(experiment, augment=True), first_batch(experiment)
    assert clean["vision/clean"][clean["valid"]].all()
    changed = (corrupted["vision/features"] != clean["vision/features"]).any(axis=2)  # each frame is encoded apart
    assert changed.any()
    assert not (changed & corrupted["vision/clean"]).any()
    changed = corrupted["tokens"] != clean["tokens"]
    assert changed.any()
    assert not (changed & corrupted["token_clean"]).any()


def test_the_trained_run_scores_and_predicts_as_without_a_cache(whole):
    config, folder = whole.config.copy_and_resolve_references(), whole.workdir.path
    config.features.update(dir="", renditions=0)
    raw, params = opened(config, folder), chosen_params(whole)
    cached, direct = (evaluator(each, "test").gather(params)["predictions"] for each in (whole, raw))
    np.testing.assert_allclose(cached, direct, atol=1e-3)
    examples, predictor = make_dataset().split("test"), Predictor.load(folder, devices=jax.devices()[:1])
    rows = [row for row, example in enumerate(examples) if length(example) <= predictor.seconds][:2]
    clips = predictor.predict([examples[row] for row in rows])
    np.testing.assert_allclose([list(clip.intensities.values()) for clip in clips], direct[rows], atol=1e-3)


def test_runs_that_freeze_different_encoders_share_a_folder(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    extract(opened(tuning_text(tiny_stage2, tmp_path / "features"), tmp_path / "partly"), "test")
    assert "features of vision of test, clean: " in caplog.text
    config = tuning_text(tiny_stage2, tmp_path / "features")
    config.train.frozen = ("^towers/",)
    caplog.clear()
    extract(opened(config, tmp_path / "frozen"), "test")
    assert "features of text of test, clean: " in caplog.text
    assert sorted(path.name for path in (tmp_path / "features").iterdir() if path.is_dir()) == ["text", "vision"]


def test_features_of_another_stage_are_refused(tmp_path):
    extract(opened(tuning_text(tiny_stage2, tmp_path / "features"), tmp_path / "two"), "test")
    with pytest.raises(UserError, match=r"features in .*vision were made from other weights, preprocessing or data"):
        extract(opened(tuning_text(tiny_stage1, tmp_path / "features"), tmp_path / "one"), "test")


def test_changing_features_are_not_standardised(tmp_path):
    config = tuning_text(tiny_stage2, tmp_path / "features")
    config.features.standardise = "split"
    with pytest.raises(UserError, match="features of the text encoder change, since it is trained"):
        train(opened(config, tmp_path / "run"))
    config.train.frozen, config.model.vision.layers = ("^towers/",), "mix"
    with pytest.raises(UserError, match="features of the vision encoder change, since its layers or patches are mixed"):
        train(opened(config, tmp_path / "run"))


@pytest.mark.parametrize("tiny", [tiny_stage1, tiny_stage2])
def test_a_cache_without_a_frozen_encoder_is_refused(tiny, tmp_path):
    config = tuning_text(tiny, tmp_path / "features")
    config.train.frozen = ()
    with pytest.raises(UserError, match=r"every encoder is trained \(vision, text\), so that no features"):
        train(opened(config, tmp_path / "run"))


def test_what_is_encoded_in_every_step_is_augmented_next_to_cached_features(tmp_path):
    config = tuning_text(tiny_stage2, tmp_path / "features", ("vision", "audio"))
    config.train.update(frozen=("^towers/vision/",), corrupt=0.0)
    config.features.renditions = 0
    config.augment.voice = 1.0
    experiment = opened(config, tmp_path / "run")
    augmented, plain = first_batch(experiment, augment=True), first_batch(experiment)
    assert (augmented["audio"] != plain["audio"]).any()
    np.testing.assert_array_equal(augmented["vision/features"], plain["vision/features"])


def test_corruption_of_features_cached_in_stage_1_is_refused(tmp_path):
    config = tuning_text(tiny_stage1, tmp_path / "features")
    config.train.corrupt = 0.5
    with pytest.raises(UserError, match=r"train.corrupt=0.5 has no effect on the cached features of stage 1"):
        opened(config, tmp_path / "run")
