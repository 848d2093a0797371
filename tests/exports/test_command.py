"""The options of the command line that export a run, upload it, and predict with it."""

import logging

import pytest
from absl.testing import flagsaver

from configs import stage2
from configs.commands import options, program
from configs.commands.clips import model_folder
from emi_jax.errors import UserError


@pytest.fixture(autouse=True)
def parsed():
    options.flags.FLAGS(["run.py"])


@pytest.fixture
def config(tmp_path):
    config = stage2.get_config()
    config.workdir = str(tmp_path / "run")
    return config


@pytest.fixture
def calls(monkeypatch):
    """The arguments of exports and uploads."""
    found = []
    monkeypatch.setattr(program, "export_model", lambda workdir, output: found.append((workdir, output)) or output)
    monkeypatch.setattr(program, "push", lambda folder, name: found.append((folder, name)) or f"{name}@abc")
    return found


def test_a_run_is_exported_and_uploaded(config, calls, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with flagsaver.flagsaver(mode="export"):
        program.run(config)
    with flagsaver.flagsaver(mode="export", output=str(tmp_path / "model"), push="org/model"):
        program.run(config)
    run, model = tmp_path / "run", tmp_path / "model"
    assert calls == [(run, run / "exported"), (run, model), (model, "org/model")]
    assert "--mode=predict --model=org/model@abc" in caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mode": "export", "split": "test"}, "--split=test does nothing with --mode=export"),
        ({"mode": "export", "pages": True}, "--pages is for new clips"),
        ({"mode": "evaluate", "push": "org/model"}, "--push is for --mode=export"),
        ({"mode": "evaluate", "model": "org/model"}, "--model is for new clips"),
    ],
)
def test_options_without_effect_are_refused(given, message, config, calls):
    with flagsaver.flagsaver(**given), pytest.raises(UserError, match=message):
        program.run(config)
    assert not calls


def test_new_clips_are_predicted_with_the_run_or_with_an_exported_model(config, tmp_path):
    assert model_folder(config) == tmp_path / "run"
    with flagsaver.flagsaver(model=str(tmp_path)):
        assert model_folder(None) == model_folder(config) == tmp_path
    with flagsaver.flagsaver(workdir=str(tmp_path / "other")):
        assert model_folder(None) == tmp_path / "other"
    with (
        flagsaver.flagsaver(mode="predict", model="org/model"),
        pytest.raises(UserError, match="results with --output=DIR"),
    ):
        model_folder(config)
    with (
        flagsaver.flagsaver(model="org/model", workdir="run", output="out"),
        pytest.raises(UserError, match="--workdir=run and --model=org/model: name one of them"),
    ):
        model_folder(config)
