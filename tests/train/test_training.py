"""Complete runs of the shipped configs, shrunk, on synthetic clips."""

import dataclasses
import shutil
import signal
import weakref

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.modalities import MODALITIES
from emi_jax.runs import training
from emi_jax.runs.checks import interval
from emi_jax.runs.evaluation import chosen_params, evaluator, export
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.workdir import Workdir
from emi_jax.train.hooks import NonFiniteError
from emi_jax.train.parameters import fingerprint, merge
from emi_jax.train.signals import StoppedError, StopSignal
from tests.configs import light_stage1, light_stage2, tiny_stage1, tiny_stage2
from tests.fakes import make_dataset


def train(config, dataset, workdir, devices=1):
    experiment = Experiment.open(config, dataset, workdir, jax.devices()[:devices])
    training.train(experiment)
    return experiment


def losses(experiment):
    return [record["loss"] for record in experiment.workdir.metrics() if "loss" in record]


@pytest.fixture
def aligned(once, tmp_path):
    """A copy of a trained run of stage 1 with its result, and its folder."""
    config, dataset = light_stage1(), make_dataset()
    config.train.epochs, config.loss.kind = 2, "sigmoid"

    def make(folder):
        experiment = train(config, dataset, folder)
        export(experiment, chosen_params(experiment))

    folder = shutil.copytree(once("aligned", make), tmp_path / "aligned")
    return Experiment.open(config, dataset, folder, jax.devices()[:1]), folder


def test_a_run_has_the_same_losses_on_one_device_by_pmap_and_on_eight_by_shard_map(tmp_path):
    """13 clips in batches of 8 leave some of 8 devices with nothing but padding."""
    config, dataset = light_stage1(), make_dataset(train=13)
    config.train.optimizer = "muon"
    runs = {}
    for config.train.mapping, count in (("pmap", 1), ("shard_map", 8)):
        runs[count] = losses(train(config, dataset, tmp_path / str(count), count))
    assert len(runs[1]) == 10
    np.testing.assert_allclose(runs[8], runs[1], rtol=1e-4)
    assert np.ptp(runs[1]) > 0


def test_a_stopped_run_resumes_to_the_same_parameters(tmp_path):
    config, dataset = light_stage2(MODALITIES), make_dataset(train=13)
    config.augment.update(voice=0.5, face=0.5)
    config.train.swa = 0.5
    config.model.head.fusion.auxiliary, config.loss.unimodal, config.loss.balance = True, 0.3, 0.5
    whole = train(config, dataset, tmp_path / "whole")

    class Interrupting(list):
        reads = 0

        def __getitem__(self, index):
            self.reads += 1
            if self.reads == 30:
                signal.raise_signal(signal.SIGTERM)
            return super().__getitem__(index)

    examples = dataset.builder.examples
    clips, examples["train"] = examples["train"], Interrupting(examples["train"])
    with pytest.raises(StoppedError, match="SIGTERM"):
        train(config, dataset, tmp_path / "parts")
    examples["train"] = clips
    stopped_after = len(losses(Experiment.open(config, dataset, tmp_path / "parts", jax.devices()[:1])))
    assert 0 < stopped_after < 10
    with (tmp_path / "parts" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 9999, "lo')  # as a full disk leaves it

    parts = train(config, dataset, tmp_path / "parts")
    assert losses(parts) == losses(whole)
    assert fingerprint(jax.device_get(chosen_params(parts))) == fingerprint(jax.device_get(chosen_params(whole)))


def test_a_signal_before_training_stops_it_before_the_first_step(tmp_path):
    config, dataset = light_stage1(), make_dataset()
    with StopSignal():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(StoppedError, match="SIGTERM"):
            train(config, dataset, tmp_path)
    assert (tmp_path / "config.json").exists()
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_step_whose_best_checkpoint_was_lost_in_a_kill_is_evaluated_again(aligned):
    experiment, folder = aligned
    expected = fingerprint(jax.device_get(chosen_params(experiment)))
    (best,) = (folder / "checkpoints" / "best").iterdir()
    assert best.name == "4"
    shutil.rmtree(best)  # as if killed when last/4 was complete and best/4 was not
    training.train(experiment)
    assert fingerprint(jax.device_get(chosen_params(experiment))) == expected


def test_a_resumed_run_does_not_hold_its_first_state(aligned, monkeypatch):
    held, begin = [], training._begin

    def beginning(*arguments):
        step, progress = begin(*arguments)
        first_states.extend(map(weakref.ref, jax.tree.leaves(progress.state.params)))
        return step, progress

    def fitting(step, state, *args, **kwargs):
        held.extend(first() is not None for first in first_states)
        return state

    first_states = []
    monkeypatch.setattr(training, "_begin", beginning)
    monkeypatch.setattr(training, "fit", fitting)
    training.train(aligned[0])
    assert held
    assert not any(held)


def test_training_changes_the_fusion_but_not_the_frozen_towers(trained):
    experiment, _ = trained
    assert experiment.config.train.weight_decay > 0
    before = merge(*experiment.initial_params())
    after = jax.device_get(chosen_params(experiment))
    assert fingerprint(after["towers"]) == fingerprint(before["towers"])
    assert fingerprint(after["fusion"]) != fingerprint(before["fusion"])


def test_stage_2_starts_from_the_encoders_of_stage_1(aligned, tmp_path):
    first, folder = aligned
    config = light_stage2()
    config.init_from = str(folder)
    second = Experiment.open(config, first.dataset, tmp_path / "stage2")
    params = second.stage.init(jax.random.PRNGKey(7), second.encoders.params)
    assert fingerprint(params["towers"]) == fingerprint(jax.device_get(chosen_params(first))["towers"])
    text = "what a lovely day"
    assert second.encoders.tokenizer(text)["input_ids"] == first.encoders.tokenizer(text)["input_ids"]


def test_a_missing_stage_1_result_names_its_folder(tmp_path):
    config = tiny_stage2()
    config.init_from = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no stage-1 result in .*nowhere.*nowhere/encoders\): train stage 1 first"):
        Experiment.open(config, make_dataset(), tmp_path / "run")


@pytest.mark.parametrize(
    ("tiny", "split", "what", "message"),
    [
        (
            tiny_stage1,
            "train",
            "text",
            "no clip of train has text; .*--asr; .*stage 2 .*--config.model.modalities",
        ),
        (tiny_stage2, "train", "vision", "no clip of train has vision; .*--config.model.modalities"),
        (tiny_stage2, "valid", "labels", "no clip of valid has labels"),
    ],
)
def test_a_modality_that_no_clip_has_is_reported_before_training(tiny, split, what, message, tmp_path):
    dataset = dataclasses.replace(make_dataset(), available={split: {what: 0}})
    with pytest.raises(UserError, match=message):
        train(tiny(), dataset, tmp_path)


def test_the_test_split_is_scored_unless_it_has_no_labels():
    dataset = make_dataset()
    assert dataset.to_score("labels") == "test"
    unlabelled = dataclasses.replace(dataset, available={"test": {"text": 7, "labels": 0}})
    assert (unlabelled.to_score("text"), unlabelled.to_score("labels")) == ("test", "valid")
    assert dataclasses.replace(dataset, splits={"train": 12, "valid": 7}).to_score("labels") == "valid"


def test_resume_refuses_another_dataset_and_another_config(trained, tmp_path):
    folder = shutil.copytree(trained[1], tmp_path / "run")
    config, dataset = trained[0].config.copy_and_resolve_references(), trained[0].dataset
    other = dataclasses.replace(dataset, fingerprint="other", directory="data/other")
    with pytest.raises(UserError, match=r"its fingerprint was 'testing only', that of data/other is 'other'"):
        train(config, other, folder)
    config.train.learning_rate = 0.5
    with pytest.raises(UserError, match=r"train.learning_rate was .*, is 0.5"):
        train(config, dataset, folder)


def test_a_trained_run_is_used_with_its_own_model_and_preprocessing(tmp_path):
    config = tiny_stage2()
    workdir = Workdir(tmp_path)
    workdir.write_config(config.to_dict())
    config.data.dir, config.model.dtype = "data/other", "bfloat16"
    config.train.update(batch_size=2, epochs=7)
    workdir.check_use(config.to_dict())
    config.data.num_frames += 1
    config.model.head.fusion.width *= 2
    with pytest.raises(UserError, match=r"data.num_frames was .*model.head.fusion.width was .*with which it was"):
        workdir.check_use(config.to_dict())


def test_a_batch_that_the_devices_cannot_share_is_an_error(tmp_path):
    config = tiny_stage1()
    config.train.batch_size = 6
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:4])
    for use in (lambda: training.train(experiment), lambda: evaluator(experiment, "valid")):
        with pytest.raises(UserError, match="batch_size=6 cannot be shared by 4 devices"):
            use()


@pytest.mark.parametrize("name", ["log_every", "evaluate_every", "save_every"])
def test_a_zero_interval_is_an_error_and_a_short_one_is_one_step(name, tmp_path):
    config = tiny_stage1()
    config.train[name] = 0
    with pytest.raises(UserError, match=f"config.train.{name}=0 should be "):
        train(config, make_dataset(), tmp_path)
    assert interval(ConfigDict({name: 1e-3}), name, 10) == 1


def test_a_config_that_cannot_be_trained_leaves_the_folder_untouched(tmp_path):
    config = tiny_stage1()
    config.train.warmup_epochs = config.train.epochs
    with pytest.raises(UserError, match="warm-up steps leave none"):
        train(config, make_dataset(), tmp_path)
    assert not (tmp_path / "config.json").exists()


def test_corruption_without_a_corrupted_rendition_is_an_error(tmp_path):
    config = tiny_stage2()
    config.features = {"dir": str(tmp_path / "features"), "renditions": 0}
    config.train.corrupt = 0.3
    with pytest.raises(UserError, match=r"corrupt=0.3 .*renditions=0; use 1 or more"):
        train(config, make_dataset(), tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_clips(tmp_path):
    config, dataset = light_stage2(), make_dataset()
    config.train.learning_rate = 1e30
    with pytest.raises(NonFiniteError, match=r"at step \d+, clips 000\d\d"):
        train(config, dataset, tmp_path)


def test_metrics_are_recorded_in_steps_with_their_parts(trained):
    experiment, folder = trained
    weights = experiment.config.loss
    records = experiment.workdir.metrics()
    trained = [record for record in records if "loss" in record]
    assert [record["step"] for record in trained] == [1, 2, 3, 4]
    for record in trained:
        expected = record["mse"] + weights.correlation * (1 - record["rho"]) + weights.quality * record["quality"]
        np.testing.assert_allclose(record["loss"], expected, rtol=1e-5)
    assert any(f"valid/{experiment.stage.goal}" in record for record in records)
    assert list((folder / "events").iterdir())


def test_a_checkpoint_scores_the_same_on_clips_and_on_cached_features(tmp_path):
    """Up to rounding, since cached features are float16."""
    config, dataset = light_stage2(MODALITIES), make_dataset()
    config.features.update(dir=str(tmp_path / "features"), renditions=1)
    cached = train(config, dataset, tmp_path / "run")
    config.features.update(dir="", renditions=0)
    direct = Experiment.open(config, dataset, tmp_path / "run", jax.devices()[:1])
    params = chosen_params(cached)
    ([one], first), ([other], second) = (evaluator(experiment, "test").run(params) for experiment in (cached, direct))
    np.testing.assert_allclose(first["predictions"], second["predictions"], atol=1e-3)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], atol=1e-3, err_msg=name)
