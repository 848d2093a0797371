"""Disks that are full or cannot be written: one line and exit code 2."""

import errno
import types

import pytest
from ml_collections import ConfigDict

import run
from emi_jax.errors import UserError
from emi_jax.runs.workdir import Workdir


def test_a_workdir_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"workdir .*file/run cannot be written: Not a directory; choose another"):
        Workdir(tmp_path / "file" / "run")


def asked_to(monkeypatch, what):
    """run.main() on a config whose work is `what`."""
    asked = {"CONFIG": ConfigDict(), "DISTRIBUTED": False}
    for name, value in asked.items():
        monkeypatch.setattr(run, name, types.SimpleNamespace(value=value))
    monkeypatch.setattr(run, "start", lambda: None)
    monkeypatch.setattr(run, "run", what)
    run.main(["run.py"])


def test_metrics_on_a_full_disk_end_the_run_with_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(SystemExit) as ended:
        asked_to(monkeypatch, lambda config: Workdir(tmp_path).record(1, {"loss": 0.5}))
    assert ended.value.code == run.CANNOT_GO_ON
    assert "No space left on device" in capsys.readouterr().err


def test_another_fault_of_the_system_keeps_its_traceback(monkeypatch):
    def lost(config):
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        asked_to(monkeypatch, lost)
