"""Folders of runs that are moved: their content counts, not their paths."""

import logging

import jax
import pytest

from emi_jax.errors import UserError
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from tests.configs import light_stage1, light_stage2
from tests.fakes import make_dataset


def save_stage1(folder, scale=1.0):
    """A result of stage 1: encoders from scratch, with their weights multiplied by `scale`."""
    experiment = Experiment.open(light_stage1(), make_dataset(), folder / "new", jax.devices()[:1])
    towers = experiment.stage.init(jax.random.key(0), {})["towers"]
    experiment.encoders.save(folder / "encoders", jax.tree.map(lambda leaf: jax.device_get(scale * leaf), towers))


def config_under(root):
    config = light_stage2()
    config.train.update(epochs=1, warmup_epochs=0.5)
    config.init_from, config.features.dir, config.features.renditions = str(root / "stage1"), str(root / "features"), 1
    return config


def resume(config, root):
    experiment = Experiment.open(config, make_dataset(), root / "stage2", jax.devices()[:1])
    train(experiment)
    return [record["loss"] for record in experiment.workdir.metrics() if "loss" in record]


def modified(folder):
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*.array_record")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained") / "root"
    save_stage1(root / "stage1")
    return root, resume(config_under(root), root)


@pytest.fixture
def moved(trained, tmp_path):
    """A root that was renamed after the training: its old path does not exist."""
    before, losses = trained
    root = tmp_path / "moved"
    before.rename(root)
    yield root, losses
    root.rename(before)


def test_a_run_resumes_after_its_root_was_renamed(moved, caplog):
    caplog.set_level(logging.INFO)
    root, losses = moved
    features = modified(root / "features")
    assert resume(config_under(root), root) == losses
    assert "resumed: step 2 of 2" in caplog.text
    assert modified(root / "features") == features  # read, not written again
    assert len(features) == 3 * 2  # renditions of two modalities


def test_a_run_resumes_with_a_feature_cache_that_was_moved_alone(moved):
    root, losses = moved
    config = config_under(root)
    config.features.dir = str(root / "elsewhere")
    (root / "features").rename(root / "elsewhere")
    assert resume(config, root) == losses
    (root / "elsewhere").rename(root / "features")
    config.features.update(dir="", renditions=0)
    config.train.corrupt = 0.0
    with pytest.raises(UserError, match=r"features.dir was '.*', is ''"):
        resume(config, root)


def test_a_run_resumes_without_the_result_of_stage_1(moved):
    root, losses = moved
    config = config_under(root)
    config.init_from = str(root / "deleted")
    assert resume(config, root) == losses


def test_a_run_refuses_to_resume_from_other_encoders(moved, tmp_path):
    root, _ = moved
    config = config_under(root)
    save_stage1(tmp_path / "other", scale=0.5)
    config.init_from = str(tmp_path / "other")
    with pytest.raises(UserError, match=r"init_from was '.*', is '.*other', and the encoders there are not those"):
        resume(config, root)
