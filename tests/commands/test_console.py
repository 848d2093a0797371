"""The command `emi`: its modes in the words of run.py, and the commands that it prints."""

import shlex
import sys
from pathlib import Path

import pytest
from absl.testing import flagsaver

import configs
from configs import stage1, stage2
from configs.command_line import next_command, stage_1_command, with_shipped_config
from configs.commands import console, program
from data_prep import __main__ as data_prep

SHIPPED = Path(configs.__file__).parent


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("train --config=stage1 --workdir=x", "--mode=train --config=stage1 --workdir=x"),
        ("predict clip.mp4 --model=runs/mine --pages", "--mode=predict --input=clip.mp4 --model=runs/mine --pages"),
        ("predict --input=clip.mp4 --model=a=b", "--mode=predict --input=clip.mp4 --model=a=b"),
        ("serve --model=runs/mine --port=8000", "--mode=serve --model=runs/mine --port=8000"),
        ("extract --config stage2", "--mode=extract --config stage2"),
        ("--help", "--help"),
    ],
)
def test_modes_are_those_of_run_py(arguments, expected):
    assert console.translated(arguments.split()) == expected.split()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--config=stage2", f"--config={SHIPPED / 'stage2.py'}"),
        ("--config=stage2:vidmimic2,lora", f"--config={SHIPPED / 'stage2.py'}:vidmimic2,lora"),
        ("--config sweep:demo --pages", f"--config {SHIPPED / 'sweep.py'}:demo --pages"),
        ("--config=configs/stage2.py --config.root=stage2", "--config=configs/stage2.py --config.root=stage2"),
        ("--config", "--config"),
    ],
)
def test_a_shipped_config_is_found_by_its_name(given, expected):
    assert with_shipped_config(given.split()) == expected.split()


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # of ml_collections
def test_a_shipped_config_is_read_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["emi", "--mode=train", "--config=stage2:descriptors", "--config.train.epochs=3"]
    monkeypatch.setattr("sys.argv", words)
    with flagsaver.flagsaver():
        assert program.parse(words) == ["emi"]
        assert (program.CONFIG.value.train.epochs, program.CONFIG.value.preset) == (3, "descriptors")


def test_the_command_starts_the_program_or_data_prep(monkeypatch):
    started = []
    monkeypatch.setattr(console, "restart_with_tuned_malloc", lambda: started.append("restarted"))
    monkeypatch.setattr(program, "execute", lambda intro: started.append(sys.argv[1:]))
    monkeypatch.setattr("sys.argv", ["emi", "evaluate", "--config=stage2"])
    console.main()
    monkeypatch.setattr("sys.argv", ["emi"])
    console.main()
    assert started == ["restarted", ["--mode=evaluate", "--config=stage2"], "restarted", ["--help"]]
    monkeypatch.setattr(data_prep, "main", lambda: len(sys.argv))
    monkeypatch.setattr("sys.argv", ["emi", "prepare", "--check", "data"])
    with pytest.raises(SystemExit) as ended:
        console.main()
    assert ended.value.code == 3


def test_new_clips_are_predicted_with_the_folder_of_a_run_alone(tmp_path, monkeypatch):
    predicted = []
    monkeypatch.setattr(program, "predict_clips", lambda *paths: predicted.append(paths))
    program.flags.FLAGS(["emi"])
    with flagsaver.flagsaver(mode="predict", input=str(tmp_path / "clip.mp4"), workdir="runs/mine"):
        program.run(None)
    assert predicted == [(Path("runs/mine"), tmp_path / "clip.mp4")]


def test_printed_commands_are_those_of_the_command_in_use(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/usr/bin/emi", "train"])
    assert next_command(stage1.get_config(), Path("runs/demo/stage1").absolute()).startswith(
        "emi train --config=stage2:demo --config.root=runs/demo "
    )
    command = next_command(stage2.get_config("finetune"), Path("/my runs"), own=["audio"])
    assert shlex.split(command) == [
        "emi",
        "predict",
        "CSV_OF_NAMES",
        "--model=/my runs",
        "--features=audio=DIR",
        "--pages",
    ]
    assert stage_1_command(stage2.get_config("vidmimic2")).startswith(
        "emi train --config=stage1:vidmimic2 --workdir=runs/vidmimic2/stage1 "
    )
