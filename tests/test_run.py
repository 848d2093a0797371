"""The command line: wrong input is one clear line, a non-zero exit and no traceback."""

import dataclasses
import errno
import os
import shlex
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
from absl.testing import flagsaver

from configs import ablation, crossval, stage1, stage2
from configs.command_line import unknown_field
from configs.commands import clips, options, program
from configs.paths import expand_paths, local_path
from data_prep.clips.options import ClipOptions
from emi_jax.errors import UserError
from emi_jax.report.exits import FAILED
from emi_jax.train.signals import StoppedError
from tests.fakes import make_dataset

ROOT = Path(__file__).parents[1]


WRONG = (
    ((), "no config given: choose one, as in --config=configs/stage1.py"),
    (("--config=configs/stage3.py",), "configs/stage3.py"),
    (("--config=configs/stage1.py:hugest",), "unknown preset 'hugest'; there are demo"),
    (("--config=configs/stage1.py", "--config.train.bach_size=8"), "batch_size"),
    (("--config=configs/stage1.py", "--config.train.flavour=8"), "the config has no such field: 'flavour'"),
    (("--config=configs/stage1.py", "--config.train.batch_size=many"), "many"),
    (("--config=configs/stage1.py", "--mode=dance"), "dance"),
    (
        ("--config=configs/stage2.py", "--mode=predict", "--input=run.py", "--config.data.seconds=9"),
        "--config.data.seconds does nothing for new clips",
    ),
    (("--config=configs/stage1.py", "train"), "unexpected argument 'train'"),
    (
        ("--config=configs/stage1.py", "--config.data.corpus=folder", "--config.data.dir={tmp}/none"),
        "no dataset in {tmp}/none",
    ),
)
"""Command lines, and what their error says."""
STARTS = """
import os, sys
from configs.commands import program  # once for all command lines: each is then run by a fork
for number, line in enumerate(sys.argv[2:]):
    if not os.fork():
        output = os.open(f"{sys.argv[1]}/{number}", os.O_CREAT | os.O_WRONLY)
        os.dup2(output, 1), os.dup2(output, 2)
        sys.argv = ["run.py", *line.split()]
        program.execute("")
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """The exit code and the output of each of the wrong command lines."""
    folder = tmp_path_factory.mktemp("wrong")
    lines = [" ".join(arguments).format(tmp=folder) + f" --workdir={folder}/run" for arguments, _ in WRONG]
    command = [sys.executable, "-c", STARTS, str(folder), *lines]
    codes = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout
    return folder, [(int(code), (folder / str(n)).read_text()) for n, code in enumerate(codes.split())]


@pytest.mark.parametrize("case", range(len(WRONG)), ids=[expected for _, expected in WRONG])
def test_wrong_input_is_one_clear_line(outcomes, case):
    folder, runs = outcomes
    code, output = runs[case]
    assert code == 2, output
    assert "Traceback" not in output
    (error,) = [line for line in output.splitlines() if line.startswith("error:")]
    assert WRONG[case][1].format(tmp=folder) in error


@pytest.fixture
def parsed():
    options.flags.FLAGS(["run.py"])


def test_options_that_would_do_nothing_are_refused(parsed, tmp_path):
    config = stage2.get_config()
    clip = tmp_path / "clip.mp4"
    clip.touch()
    with flagsaver.flagsaver(pages=True), pytest.raises(UserError, match="--pages is for new clips"):
        program.run(config)
    with flagsaver.flagsaver(features=["audio=x"]), pytest.raises(UserError, match="--features is for new clips"):
        program.run(config)
    with flagsaver.flagsaver(output="out"), pytest.raises(UserError, match="--output=out does nothing"):
        program.run(config)
    with flagsaver.flagsaver(compare="runs/x"), pytest.raises(UserError, match="--compare is for --mode=evaluate"):
        program.run(config)
    with (
        flagsaver.flagsaver(mode="predict", input=str(clip), split="test"),
        pytest.raises(UserError, match="predict either a split or new clips"),
    ):
        program.run(config)


def test_the_split_that_is_scored(parsed, caplog):
    caplog.set_level("INFO", "emi_jax")
    unlabelled = dataclasses.replace(make_dataset(), available={"test": {"text": 7, "labels": 0}})
    first, second = stage1.get_config(), stage2.get_config()
    assert (program.chosen_split(first, unlabelled), program.chosen_split(second, unlabelled)) == ("test", "valid")
    assert caplog.messages == ["test has no clips with labels: scores are those of valid"]
    program.chosen_split(second, dataclasses.replace(make_dataset(), splits={"train": 12}))
    assert len(caplog.messages) == 1  # there is no valid either
    with flagsaver.flagsaver(split="test"), pytest.raises(UserError, match="no clip of split 'test' has labels"):
        program.chosen_split(second, unlabelled)
    with flagsaver.flagsaver(split="test", mode="predict"):
        assert program.chosen_split(second, unlabelled) == "test"
    with flagsaver.flagsaver(split="tset"), pytest.raises(UserError, match="no clips in split 'tset'"):
        program.chosen_split(second, unlabelled)


def test_stage_1_predicts_no_intensities(parsed):
    with flagsaver.flagsaver(mode="predict"), pytest.raises(UserError, match="--mode=predict is for stage 2"):
        program.chosen_split(stage1.get_config(), make_dataset())


def test_only_the_demos_own_corpus_is_created(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(program, "prepare", lambda **options: made.append(options))
    monkeypatch.chdir(tmp_path)
    config = stage1.get_config()
    config.data.dir = "data/mien"
    with pytest.raises(UserError, match=r"no dataset in data/mien .*python -m data_prep --corpus=synthetic"):
        program.open_data(config)
    assert not made
    config.data.dir = "data/demo"
    with pytest.raises(UserError, match="no dataset in data/demo"):  # nothing was made by the stand-in
        program.open_data(config)
    assert made == [{"corpus": "synthetic", "out": "data/demo"}]


def test_a_trained_run_is_used_with_its_own_dataset(parsed, tmp_path):
    config = stage2.get_config("descriptors")
    config.workdir = str(tmp_path)
    (tmp_path / "config.json").write_text('{"data": {"dir": "data/its_own", "corpus": "cremad"}}')
    with flagsaver.flagsaver(mode="evaluate"), pytest.raises(UserError, match=r"no dataset in data/its_own .*=cremad"):
        program.open_data(config.copy_and_resolve_references())
    with flagsaver.flagsaver(mode="train"), pytest.raises(UserError, match="no dataset: name its folder with"):
        program.open_data(config.copy_and_resolve_references())
    config.data.dir = "data/another"
    with flagsaver.flagsaver(mode="evaluate"), pytest.raises(UserError, match="no dataset in data/another"):
        program.open_data(config)


def test_a_signal_while_a_model_is_loaded_stops_the_prediction(parsed, tmp_path, monkeypatch):
    def load(workdir):
        signal.raise_signal(signal.SIGTERM)
        pytest.fail("the signal was not obeyed")

    monkeypatch.setattr(clips.Predictor, "load", load)
    (tmp_path / "clip.mp4").touch()
    with (
        flagsaver.flagsaver(mode="predict", output=str(tmp_path / "out")),
        pytest.raises(StoppedError, match="stopped by SIGTERM"),
    ):
        clips.predict_clips(tmp_path / "run", tmp_path / "clip.mp4")


def test_predictions_of_new_clips_go_to_the_run_by_default(parsed, tmp_path, monkeypatch):
    model = types.SimpleNamespace(
        label_names=("Joy",),
        label_range=(0.0, 1.0),
        clip_options=ClipOptions(detector="haar").stored(),
        features={},
        fingerprint="model",
        seconds=3.0,
        compile_seconds=0.0,
        predict=lambda examples, windows, unfinished: [],
    )
    monkeypatch.setattr(clips.Predictor, "load", lambda workdir: model)
    (tmp_path / "clip.mp4").touch()
    with flagsaver.flagsaver(mode="predict"), pytest.raises(UserError, match=r"none of the 1 clips in .* can be read"):
        clips.predict_clips(tmp_path / "run", tmp_path / "clip.mp4")
    assert (tmp_path / "run" / "predicted" / "predictions.csv").read_text() == "Filename,Joy\n"


def test_a_model_file_of_the_users_own_is_named_again_to_predict(parsed, tmp_path, monkeypatch):
    stored = ClipOptions(detector_model="0" * 64).stored()
    monkeypatch.setattr(clips.Predictor, "load", lambda workdir: types.SimpleNamespace(clip_options=stored))
    for name in ("clip.mp4", "mine.onnx"):
        (tmp_path / name).touch()
    with flagsaver.flagsaver(mode="predict"), pytest.raises(UserError, match="give it with --detector-model=PATH"):
        clips.predict_clips(tmp_path / "run", tmp_path / "clip.mp4")
    named = flagsaver.flagsaver((options.DETECTOR_MODEL, str(tmp_path / "mine.onnx")), (options.MODE, "predict"))
    with named, pytest.raises(UserError, match=r"mine\.onnx: found a file with SHA-256 e3b0c442.*, expected 0{64}"):
        clips.predict_clips(tmp_path / "run", tmp_path / "clip.mp4")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_refuses_is_one_line(number, parsed, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(number, os.strerror(number), "runs/mine/config.json")

    monkeypatch.setattr(program, "CONFIG", types.SimpleNamespace(value=stage2.get_config()))
    monkeypatch.setattr(program, "run", refuse)
    monkeypatch.setattr(program, "start", lambda: None)
    with pytest.raises(SystemExit) as ended:
        program.main(["run.py"])
    assert ended.value.code == FAILED
    error = f"error: [Errno {number}] {os.strerror(number)}: 'runs/mine/config.json'"
    assert capsys.readouterr().err.splitlines() == [error]


def printed(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        program.parse(["run.py", *arguments])
    out, err = capsys.readouterr()
    return ended.value.code, out, err


def test_help_names_modes_presets_and_fields(capsys):
    code, out, _ = printed(capsys, "--help")
    assert code == 0
    for name in ("--mode", "evaluate", "--time-limit", "configs/stage1.py", "vidmimic2", "finetune", "ablation"):
        assert name in out
    code, out, _ = printed(capsys, "--config=configs/stage2.py:vidmimic2", "--help")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.strip().startswith("train.batch_size=")]
    assert line.split() == ["train.batch_size=32", "clips", "in", "a", "global", "batch"]
    config = stage2.get_config("vidmimic2")
    assert all(f"train.{name}{'.' if name == 'last_layers' else '='}" in out for name in config.train)
    assert all(f"model.head.fusion.{name}=" in out for name in config.model.head.fusion)
    assert printed(capsys, "--help", "--config=configs/stage9.py")[0] == 2


@pytest.mark.parametrize(
    ("field", "near"),
    [
        ("train.bach_size", "train.batch_size"),
        ("model.head.tcn", "model.head.fusion.tcn"),
        ("model.vision.config.hidden_dropout", "model.vision.config.hidden_dropout_prob"),
        ("batch_size", "train.batch_size"),
    ],
)
def test_an_unknown_field_is_reported_with_the_nearest_name(field, near):
    name = field.rpartition(".")[2]
    message = unknown_field("configs/stage2.py", [f"--config.{field}=8"], KeyError(name))
    assert message.startswith(f"the config has no such field: {name!r} ({field}); did you mean --config.{near}?")


def test_home_folders_are_expanded_and_urls_refused(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    config = stage2.get_config()
    config.root, config.data.dir = "~/runs", "~/data"
    grid = ablation.get_config()
    grid.grid.folder = "~/cells"
    expand_paths(grid, None)
    assert grid.grid.folder == "/home/me/cells"
    expand_paths(config, None)
    assert (config.workdir, config.init_from) == ("/home/me/runs/stage2", "/home/me/runs/stage1")
    assert (config.features.dir, config.data.dir) == ("/home/me/runs/features", "/home/me/data")
    expand_paths(config, "~/other")
    assert config.workdir == "/home/me/other"
    for path in ("gs://bucket/run", "s3://bucket", "https://host/x", "hdfs://x"):
        with pytest.raises(UserError, match=f"config.workdir={path}: expected a local path"):
            expand_paths(config, path)
    with pytest.raises(UserError, match="no such home folder"):
        local_path("~nobody-of-this-name/x", "--output")
    assert local_path("./a:b/~x", "--input") == "./a:b/~x"


def test_a_cross_validation_chooses_its_own_splits(parsed):
    config = crossval.get_config()
    assert program.chosen_split(config, make_dataset()) == ""
    with flagsaver.flagsaver(split="test"), pytest.raises(UserError, match=r"--split=test does nothing: held-out"):
        program.chosen_split(config, make_dataset())


def test_a_missing_stage_1_result_names_the_command_that_makes_it(parsed, tmp_path, monkeypatch):
    config = stage2.get_config("finetune")
    config.init_from, config.workdir = str(tmp_path / "no where"), str(tmp_path / "run")
    monkeypatch.setattr(program, "open_data", lambda config: make_dataset())
    with pytest.raises(UserError) as error:
        program.run(config)
    command = shlex.split(str(error.value).partition("train stage 1 first, with: ")[2])
    assert command[:4] == ["python", "run.py", "--config=configs/stage1.py:demo", f"--workdir={tmp_path / 'no where'}"]
