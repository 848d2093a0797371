"""The folder of a run: one writer, one dataset, full or read-only disks, and truncated files."""

import dataclasses
import errno
import json
import logging
import os
import tempfile
import types
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs.commands import program
from emi_jax.errors import UserError
from emi_jax.report.exits import FAILED
from emi_jax.runs.workdir import Workdir
from tests.fakes import make_dataset

DATASET = dataclasses.replace(make_dataset(1, 1, 1), directory=Path("data/mine"))


def test_a_workdir_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"file/run cannot be written: Not a directory; choose another folder"),
        Workdir(tmp_path / "file" / "run").training(),
    ):
        pytest.fail("there is no such folder")


def test_an_output_folder_that_cannot_be_written_is_reported_beforehand(tmp_path, monkeypatch):
    def refused(*arguments, **options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(UserError, match=r"trained cannot be written: Read-only file system; choose another folder"):
        Workdir(tmp_path / "trained").make_output()


def test_a_second_training_run_is_refused_and_the_first_is_named(tmp_path):
    with Workdir(tmp_path).training():
        with (
            pytest.raises(UserError, match=rf"in use by another program, process {os.getpid()} on .*, since "),
            Workdir(tmp_path).training(),
        ):
            pytest.fail("two runs")
        with Workdir(tmp_path, writes=False).training():  # a further process of the same run
            pass
    with Workdir(tmp_path).training():
        pass


def test_a_read_only_workdir_is_unchanged_and_results_go_elsewhere(tmp_path):
    trained, output = tmp_path / "trained", tmp_path / "output"
    trained.mkdir()
    workdir = Workdir(trained, output=output)
    assert workdir.write_json("metrics_test.json", {"a": 1}) == output / "metrics_test.json"
    assert json.loads((output / "metrics_test.json").read_text()) == {"a": 1}
    assert list(trained.iterdir()) == []
    workdir.make_output()
    assert [path.name for path in output.iterdir()] == ["metrics_test.json"]
    Workdir(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_names": DATASET.label_names[::-1]}, r"its label names was \['Admiration', .*is \['Joy', "),
        ({"label_range": (0.0, 100.0)}, r"its label range was \[0.0, 1.0\], that of data/mine is \[0.0, 100.0\]"),
        ({"corpus": "folder"}, r"its corpus was 'synthetic', that of data/mine is 'folder'"),
        ({"clip_options": {}}, r"its clip options was \{'max_frames'.*that of data/mine is \{\}"),
        ({"fingerprint": "other"}, r"its fingerprint was 'testing only', that of data/mine is 'other'"),
    ],
)
def test_resume_refuses_another_dataset_and_evaluation_refuses_other_labels(change, message, tmp_path):
    workdir, other = Workdir(tmp_path), dataclasses.replace(DATASET, **change)
    workdir.write_dataset(DATASET)
    with pytest.raises(UserError, match=rf"holds a run on another dataset: {message}.*or another --workdir"):
        workdir.write_dataset(other)
    if change.keys() & {"label_names", "label_range"}:
        with pytest.raises(UserError, match=message):
            workdir.check_dataset(other)
    else:
        workdir.check_dataset(other)
    assert json.loads((tmp_path / "dataset.json").read_text())["fingerprint"] == "testing only"


def test_a_moved_dataset_counts_as_the_same(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.write_dataset(DATASET)
    workdir.write_dataset(dataclasses.replace(DATASET, directory=Path("/elsewhere")))


def call_main(monkeypatch, work):
    """Calls program.main() with `work` in place of the command's work."""
    for name, value in {"CONFIG": ConfigDict(), "DISTRIBUTED": False}.items():
        monkeypatch.setattr(program, name, types.SimpleNamespace(value=value))
    monkeypatch.setattr(program, "start", lambda: None)
    monkeypatch.setattr(program, "run", work)
    program.main(["run.py"])


def test_a_full_disk_ends_the_run_with_a_one_line_error(tmp_path, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("emi_jax.runs.workdir._end_line", full)
    with pytest.raises(SystemExit) as ended:
        call_main(monkeypatch, lambda config: Workdir(tmp_path).record(1, {"loss": 0.5}))
    assert ended.value.code == FAILED
    assert "No space left on device" in capsys.readouterr().err


def test_other_system_errors_keep_their_traceback(monkeypatch):
    def lost(config):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        call_main(monkeypatch, lost)


@pytest.mark.parametrize("cut", [b'{"step": 2, "lo', b"17", b'{"loss": 1}\n', b"\xff\n"])
def test_a_truncated_line_of_metrics_is_skipped_and_the_next_record_starts_a_new_line(cut, tmp_path, caplog):
    workdir = Workdir(tmp_path)
    workdir.record(1, {"loss": 0.5})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(cut)
    workdir.record(3, {"loss": 0.25})
    with caplog.at_level(logging.WARNING, logger="emi_jax"):
        assert workdir.metrics() == [{"step": 1, "loss": 0.5}, {"step": 3, "loss": 0.25}]
    assert "metrics.jsonl: line 2 is cut off and was skipped" in caplog.text


def test_an_empty_file_of_metrics_holds_none(tmp_path):
    (tmp_path / "metrics.jsonl").touch()
    assert Workdir(tmp_path).metrics() == []
