"""The commands that are printed for what comes next."""

import shlex
from pathlib import Path

import pytest

from configs import stage1, stage2
from configs.command_line import next_command, preparation_command


@pytest.mark.parametrize(
    ("corpus", "options"),
    [
        ("synthetic", ""),
        ("vidmimic2", " --source=CORPUS"),
        ("cremad", " --source=CORPUS"),
        ("folder", " --source=CORPUS --labels=CSV"),
    ],
)
def test_preparation_command_names_the_source_of_the_corpus(corpus, options):
    config = stage2.get_config()
    config.data.update(corpus=corpus, dir="data/x")
    assert preparation_command(config) == f"python -m data_prep --corpus={corpus}{options} --out=data/x"


def test_preparation_command_of_a_config_without_a_corpus_is_that_of_a_folder():
    command = preparation_command(stage2.get_config("descriptors"))
    assert command == "python -m data_prep --corpus=folder --source=CORPUS --labels=CSV --out=DIR"


def test_after_stage_1_the_next_command_takes_its_result_and_data():
    config = stage1.get_config()
    command = next_command(config, Path("runs/demo/stage1").absolute())
    shared = "python run.py --config=configs/stage2.py:demo --config.root=runs/demo --config.data.dir=data/demo"
    assert command == f"{shared} --config.data.corpus=synthetic"
    config.model.pairs = ("audio",)
    command = next_command(config, Path("/elsewhere"))
    assert shlex.split(command)[-2:] == ["--config.init_from=/elsewhere", "--config.model.modalities=('audio', 'text')"]


def test_after_stage_2_the_next_command_predicts_with_it():
    command = next_command(stage2.get_config("finetune"), Path("/elsewhere"))
    assert command.startswith(
        "python run.py --config=configs/stage2.py:demo,finetune --workdir=/elsewhere --mode=predict "
    )
    command = next_command(stage2.get_config("descriptors"), Path("/elsewhere"), own=["audio"])
    assert command.endswith("--mode=predict --input=CSV_OF_NAMES --features=audio=DIR --pages")


def test_the_next_command_names_what_new_clips_need():
    options = ["--detector-model=PATH"]
    command = next_command(stage2.get_config("descriptors"), Path("/elsewhere"), for_new_clips=options)
    assert command.endswith("--mode=predict --input=FOLDER_OF_CLIPS --detector-model=PATH --pages")
