"""Training on further splits: their clips are trained on, and their scores carry a caution."""

import jax
import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.runs import results
from emi_jax.runs.baseline import linear_baseline
from emi_jax.runs.evaluation import TRAINED_ON
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import inputs
from emi_jax.runs.training import train
from tests.configs import tiny_stage2
from tests.fakes import make_dataset


def make_config(select="last"):
    config = tiny_stage2()
    config.model.modalities = ("text",)
    config.model.head.fusion.update(width=8, num_heads=2, tcn=False, bilstm=False, decoder=False)
    config.train.update(epochs=1, warmup_epochs=0.0, select=select)
    config.data.train_on = ("train", "valid")
    return config


def test_clips_of_the_validation_split_are_trained_on_and_their_scores_carry_a_caution(tmp_path):
    dataset = make_dataset()
    experiment = Experiment.open(make_config(), dataset, tmp_path, jax.devices()[:1])
    assert len(experiment.dataset.split("train")) == 12 + 7
    train(experiment)
    assert experiment.workdir.metrics()[-1]["step"] == 3  # 19 clips in batches of 8
    summary = results.evaluate(experiment, "valid")
    assert summary.verdict.startswith(TRAINED_ON.format(split="valid"))
    assert "trained on these clips" in summary.table
    assert TRAINED_ON.format(split="test") not in results.evaluate(experiment, "test").verdict


def test_cached_features_of_joined_splits_are_those_of_each_split(tmp_path):
    config, dataset = make_config(), make_dataset()
    config.features.update(dir=str(tmp_path / "features"), renditions=1)
    experiment = Experiment.open(config, dataset, tmp_path, jax.devices()[:1])
    clips, transform = inputs(experiment, "train", augment=True)
    assert len(clips) == 12 + 7
    arrays = transform(clips[12], np.random.default_rng(0), 12)
    np.testing.assert_array_equal(arrays["labels"], dataset.builder.examples["valid"][0]["labels"])
    assert arrays["clip"] == 12
    assert clips[12].rendition(0)["text/clean"][clips[12].rendition(0)["text/mask"]].all()
    corrupted = [clips[row].rendition(1) for row in range(12, 19)]
    assert not all(clip["text/clean"][clip["text/mask"]].all() for clip in corrupted)
    names = {path.name for path in (tmp_path / "features").rglob("*.array_record")}
    assert names == {
        f"{split}-{kind}.array_record" for split in ("train", "valid") for kind in ("clean", "corrupted-0")
    }


def test_a_checkpoint_is_not_selected_on_clips_that_are_trained_on(tmp_path):
    with pytest.raises(UserError, match=r"train_on names valid.*--config.train.select=last"):
        Experiment.open(make_config("best"), make_dataset(), tmp_path)


def test_a_penalty_is_not_chosen_on_clips_that_are_trained_on(tmp_path, caplog):
    config = make_config()
    config.features.update(dir=str(tmp_path / "features"), renditions=1)
    experiment = Experiment.open(config, make_dataset(), tmp_path, jax.devices()[:1])
    with caplog.at_level("INFO"):
        assert linear_baseline(experiment, "test", np.zeros((11, 6))) is None
    assert "its penalty is chosen on valid, which is trained on" in caplog.text
