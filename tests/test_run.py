"""The command line: wrong input is one clear line, a non-zero exit and no traceback."""

import dataclasses
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from absl.testing import flagsaver

import run
from configs import stage1, stage2
from emi_jax.errors import UserError
from tests.fakes import make_dataset

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "no config: say which, with --config=configs/stage1.py"),
        (("--config=configs/stage3.py",), "configs/stage3.py"),
        (("--config=configs/stage1.py:hugest",), "unknown preset 'hugest'; there are demo"),
        (("--config=configs/stage1.py", "--config.train.bach_size=8"), "batch_size"),
        (("--config=configs/stage1.py", "--config.train.flavour=8"), "the config has no such field: 'flavour'"),
        (("--config=configs/stage1.py", "--config.train.batch_size=many"), "many"),
        (("--config=configs/stage1.py", "--mode=dance"), "dance"),
        (
            ("--config=configs/stage2.py", "--mode=predict", "--input=run.py", "--config.data.seconds=9"),
            "--config.data.seconds does nothing with --input",
        ),
        (("--config=configs/stage1.py", "train"), "unexpected argument 'train'"),
        (
            ("--config=configs/stage1.py", "--config.data.corpus=folder", "--config.data.dir={tmp}/none"),
            "no dataset in {tmp}/none",
        ),
    ],
)
def test_wrong_input_is_one_clear_line(arguments, expected, tmp_path):
    arguments = [argument.format(tmp=tmp_path) for argument in (*arguments, f"--workdir={tmp_path / 'run'}")]
    run = subprocess.run([sys.executable, "run.py", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 2
    assert "Traceback" not in run.stderr + run.stdout
    errors = [line for line in run.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert expected.format(tmp=tmp_path) in errors[0]


@pytest.fixture
def parsed():
    run.flags.FLAGS(["run.py"])


def test_options_that_would_do_nothing_are_refused(parsed, tmp_path):
    config = stage2.get_config()
    clip = tmp_path / "clip.mp4"
    clip.touch()
    with flagsaver.flagsaver(pages=True), pytest.raises(UserError, match="--pages is for new clips"):
        run.run(config)
    with (
        flagsaver.flagsaver(mode="predict", input=str(clip), split="test"),
        pytest.raises(UserError, match="predict either a split or new clips"),
    ):
        run.run(config)


def test_after_stage_1_the_next_command_takes_its_result_and_data():
    config = stage1.get_config()
    told = run.next_command(config, Path("runs/demo/stage1").absolute())
    shared = "python run.py --config=configs/stage2.py:demo --config.root=runs/demo --config.data.dir=data/demo"
    assert told == f"{shared} --config.data.corpus=synthetic"
    config.model.pairs = ("audio",)
    told = run.next_command(config, Path("/elsewhere"))
    assert shlex.split(told)[-2:] == ["--config.init_from=/elsewhere", "--config.model.modalities=('audio', 'text')"]


def test_after_stage_2_the_next_command_predicts_with_it():
    told = run.next_command(stage2.get_config("finetune"), Path("/elsewhere"))
    assert told.startswith(
        "python run.py --config=configs/stage2.py:demo,finetune --workdir=/elsewhere --mode=predict "
    )


def test_the_split_that_is_scored(parsed):
    unlabelled = dataclasses.replace(make_dataset(), available={"test": {"text": 7, "labels": 0}})
    first, second = stage1.get_config(), stage2.get_config()
    assert (run.chosen_split(first, unlabelled), run.chosen_split(second, unlabelled)) == ("test", "valid")
    with flagsaver.flagsaver(split="test"), pytest.raises(UserError, match="no clip of split 'test' has labels"):
        run.chosen_split(second, unlabelled)
    with flagsaver.flagsaver(split="test", mode="predict"):
        assert run.chosen_split(second, unlabelled) == "test"
    with flagsaver.flagsaver(split="tset"), pytest.raises(UserError, match="no clips in split 'tset'"):
        run.chosen_split(second, unlabelled)
