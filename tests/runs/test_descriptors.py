"""Stage 2 on descriptors and users' features: standardised, averaged over members, predicted as evaluated."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
import scipy.stats
from jax import export
from safetensors.numpy import load_file

from configs import stage2
from configs.ablation import DESCRIPTOR_CELLS
from emi_jax.errors import UserError
from emi_jax.exports.folder import export_model
from emi_jax.files import read_json
from emi_jax.inputs.windows import length
from emi_jax.metrics.ridge import PENALTIES
from emi_jax.runs.baseline import linear_baseline
from emi_jax.runs.evaluation import chosen_params, evaluator, member_seeds
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.standardisation import FILE, standardised
from emi_jax.runs.training import rate_factors, train
from emi_jax.train.optimizer import make_optimizer
from tests.configs import shrink_sizes
from tests.fakes import make_dataset


def make_config(tmp_path, **changes):
    config = shrink_sizes(stage2.get_config("descriptors"))
    config.features.dir = str(tmp_path / "features")
    config.data.num_steps = 4
    config.model.vision.config.image_size = 32
    config.train.update(members=2, epochs=2, warmup_epochs=0.5, evaluate_every=1.0, save_every=1.0)
    config.update_from_flattened_dict(changes)
    return config


def with_own_features(dataset):
    """The same clips, whose voice is given by features of width 3."""
    rng = np.random.default_rng(0)
    splits = {}
    for split, examples in dataset.builder.examples.items():
        counts = rng.integers(0, 7, len(examples))
        splits[split] = [
            example
            | {
                "audio_features": rng.normal(50, 20, (count, 3)).astype(np.float32),
                "audio_feature_times": np.arange(count, dtype=np.float32) / 4,
                "subject": f"s{index % 2}".encode(),
            }
            for index, (example, count) in enumerate(zip(examples, counts, strict=True))
        ]
    return dataclasses.replace(
        dataset,
        features={"audio": {"width": 3, "names": ["a", "b", "c"], "source": "npy"}},
        builder=type(dataset.builder)(splits),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two members on descriptors of face and words, and the user's own features of the voice."""
    folder = tmp_path_factory.mktemp("descriptors")
    config, dataset = make_config(folder), with_own_features(make_dataset())
    experiment = Experiment.open(config, dataset, folder / "run", jax.devices()[:1])
    train(experiment)
    return experiment, dataset, folder


def test_members_are_trained_side_by_side_and_averaged(trained):
    experiment, _, _ = trained
    assert member_seeds(experiment.config) == (0, 1)
    params = chosen_params(experiment)
    averaged = evaluator(experiment, "test").gather(params)["predictions"]
    each = evaluator(experiment, "test", seeds=2).gather(params)["predictions"]
    assert np.abs(each[:, 0] - each[:, 1]).max() > 1e-3
    np.testing.assert_allclose(averaged, each.mean(axis=1), atol=1e-6)


def test_moments_of_the_training_split_are_kept_with_the_run(trained):
    experiment, dataset, _ = trained
    assert (experiment.workdir.path / FILE).exists()
    own = np.concatenate([example["audio_features"][:4] for example in dataset.builder.examples["train"]])
    moments = standardised(experiment).stage.standardisation["audio"].steps
    spread = [example["audio_features"] for example in dataset.builder.examples["train"]]
    assert any(len(x) > 4 for x in spread)  # of these, steps in between are read
    assert np.all((moments.mean > own.min(axis=0)) & (moments.mean < own.max(axis=0)))


def test_new_clips_are_predicted_as_the_split_is(trained):
    experiment, dataset, folder = trained
    examples = dataset.builder.examples["test"]
    predictor = Predictor.load(folder / "run", batch_size=3, devices=jax.devices()[:1])
    short = [row for row, example in enumerate(examples) if length(example) <= predictor.seconds]
    examples = [examples[row] for row in short]
    predicted = list(predictor.predict(examples))
    expected = evaluator(experiment, "test").gather(chosen_params(experiment))
    found = np.array([list(prediction.intensities.values()) for prediction in predicted])
    np.testing.assert_allclose(found, expected["predictions"][short], atol=2e-3)  # the cache holds float16
    words = predicted[0].tokens
    assert words == examples[0]["transcript"].decode().split()[: len(words)]
    assert len(predicted[0].times["text"]) == len(words) == len(predicted[0].reliability["text"])


def test_an_ensemble_on_features_is_exported(trained, tmp_path):
    """Of descriptors and the user's features, the program takes the features."""
    _, dataset, folder = trained
    model = export_model(folder / "run", tmp_path / "model")
    predictor, exported = (Predictor.load(path, devices=jax.devices()[:1]) for path in (folder / "run", model))
    examples = [clip for clip in dataset.builder.examples["test"] if length(clip) <= predictor.seconds]
    found, expected = (next(iter(one.predict(examples[:1]))).intensities for one in (exported, predictor))
    assert found == expected
    program = export.deserialize(bytearray((model / "predictor.jax_export").read_bytes()))
    transform = trained[0].transform
    clips = [transform(example, np.random.default_rng(0), 0) for example in examples]
    names = [f"{modality}/{part}" for modality in ("vision", "audio", "text") for part in ("features", "mask", "times")]
    inputs = {name: np.stack([clip[name] for clip in clips]) for name in names}
    outputs = jax.device_get(program.call(load_file(model / "model.safetensors"), inputs))
    np.testing.assert_allclose(outputs["intensities"][0], list(expected.values()), atol=2e-6)
    facts = read_json(model / "preprocessing.json")["modalities"]
    assert facts["audio"]["features"]["names"] == ["a", "b", "c"]
    assert facts["text"]["descriptors"] == read_json(model / facts["text"]["config"])["model_type"]


def test_ridge_is_scored_on_the_same_features_and_the_model_against_it(trained):
    experiment, dataset, _ = trained
    labels = np.array([example["labels"] for example in dataset.builder.examples["test"]])
    own = np.random.default_rng(0).normal(size=labels.shape)
    rows = linear_baseline(experiment, "test", own)["rows"]
    assert list(rows) == ["vision", "audio", "text", "all"]
    assert all(-1 <= row["pearson"] <= 1 and row["penalty"] in PENALTIES for row in rows.values())
    mean = np.mean([scipy.stats.pearsonr(*pair).statistic for pair in zip(own.T, labels.T, strict=True)])
    for row in rows.values():
        assert row["difference"] == pytest.approx(mean - row["pearson"], abs=1e-6)
        assert row["difference_interval"][0] < row["difference_interval"][1]


def test_subjects_have_their_own_moments(trained):
    _, dataset, folder = trained
    config = make_config(folder, **{"features.standardise": "subject"})
    within = Experiment.open(config, dataset, folder / "within", jax.devices()[:1])
    from emi_jax.runs.features import inputs

    clips, transform = inputs(within, "test", augment=False)
    first, third = (transform(clips[row], np.random.default_rng(0), row) for row in (0, 2))
    second = transform(clips[1], np.random.default_rng(0), 1)
    name = "audio/steps/mean"
    np.testing.assert_array_equal(first[name], third[name])
    assert np.abs(first[name] - second[name]).max() > 0
    mine = [clips[row].rendition(0) for row in range(0, len(clips), 2)]
    steps = np.concatenate([clip["audio/features"][clip["audio/mask"]] for clip in mine]).astype(np.float64)
    np.testing.assert_allclose(first[name], steps.mean(axis=0), rtol=1e-5)


def test_single_new_clips_are_refused_where_subjects_are_standardised(trained):
    _, dataset, folder = trained
    config = make_config(folder, **{"features.standardise": "subject"})
    within = Experiment.open(config, dataset, folder / "refused", jax.devices()[:1])
    with pytest.raises(UserError, match=r"standardises features within subjects.*prepare the new clips as a dataset"):
        Predictor(within, {})


def test_unknown_subjects_are_refused(trained):
    from emi_jax.runs.features import inputs

    _, dataset, folder = trained
    config = make_config(folder, **{"features.standardise": "subject"})
    nameless = [example | {"subject": b""} for example in dataset.builder.examples["test"]]
    splits = dataset.builder.examples | {"test": nameless}
    dataset = dataclasses.replace(dataset, builder=type(dataset.builder)(splits))
    within = Experiment.open(config, dataset, folder / "nameless", jax.devices()[:1])
    with pytest.raises(UserError, match="7 clips of test have no known subject"):
        inputs(within, "test", augment=False)


def test_learning_rates_of_every_head_in_the_grid_name_its_parameters(tmp_path):
    dataset = make_dataset()
    for name, _, changes in DESCRIPTOR_CELLS:
        if not any(field.startswith("model.head.") for field, _ in changes):
            continue
        config = make_config(tmp_path, **dict(changes))
        config.data.num_frames = 3
        experiment = Experiment.open(config, dataset, tmp_path / name, jax.devices()[:1])
        params = jax.eval_shape(experiment.stage.init, jax.random.PRNGKey(0), experiment.encoders.params)
        shapes, _ = experiment.split(params)
        try:
            optimizer = make_optimizer(
                shapes,
                optax.constant_schedule(0.1),
                weight_decay=0.0,
                clip_norm=0.0,
                rate_factors=rate_factors(experiment),
            )
        except UserError as error:
            pytest.fail(f"cell {name}: {error}")
        assert jax.eval_shape(optimizer.init, shapes)


def test_stage_1_refuses_encoders_without_weights(tmp_path, caplog):
    from tests.configs import tiny_stage1

    config = tiny_stage1()
    config.model.audio.scratch = {"model_type": "voice_descriptors"}
    for name in config.model.audio.config:
        config.model.audio.config[name] = None
    caplog.set_level("INFO", "emi_jax")
    with pytest.raises(UserError, match="stage 1 trains encoders, and that of audio has no weights"):
        Experiment.open(config, make_dataset(), tmp_path / "run", jax.devices()[:1])
    assert "audio   encoder: voice_descriptors, which have no weights" in caplog.messages
