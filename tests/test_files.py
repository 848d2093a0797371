"""Files that appear complete or not at all, and locks between processes."""

import contextlib
import errno
import json
import logging
import multiprocessing
import os
import signal
import socket
import stat
import threading
import time

import filelock
import numpy as np
import pytest
from safetensors import safe_open

from emi_jax.errors import UserError
from emi_jax.files import lock, read_json, whole_file, write_json, write_tensors

SPAWN = multiprocessing.get_context("spawn")


def hold(folder, connection):
    with lock(folder):
        connection.send("held")
        connection.poll(60)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`, and the connection that makes it release the lock."""
    connection, its_end = SPAWN.Pipe()  # not an Event, whose `set` waits for ever for a waiter that was killed
    process = SPAWN.Process(target=hold, args=(tmp_path, its_end))
    process.start()
    assert connection.poll(60)
    yield process, connection
    with contextlib.suppress(OSError):
        connection.send("release")
    process.join(60)
    assert process.exitcode is not None


def test_the_second_writer_is_refused_and_the_holder_named_until_it_is_killed(holder, tmp_path):
    process, _ = holder
    with (
        pytest.raises(
            UserError, match=rf"in use by another program, process {process.pid} on {socket.gethostname()}, since 2"
        ),
        lock(tmp_path),
    ):
        pytest.fail("two writers")
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert process.exitcode is not None
    with lock(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()


def test_a_writer_that_waits_says_so_and_comes_after_the_first(holder, tmp_path, caplog):
    process, connection = holder
    threading.Timer(0.3, connection.send, ["release"]).start()
    began = time.monotonic()
    with caplog.at_level(logging.INFO, logger="emi_jax"), lock(tmp_path, wait=True):
        assert time.monotonic() - began >= 0.25
    assert f"is being written by another program, process {process.pid} on" in caplog.text


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_a_warning(number, tmp_path, monkeypatch, caplog):
    def refused(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refused)
    with caplog.at_level(logging.WARNING, logger="emi_jax"), lock(tmp_path):
        pass
    assert "is on a file system without locks" in caplog.text


def test_an_error_of_the_block_is_not_taken_for_one_of_the_lock(tmp_path):
    with pytest.raises(OSError, match="no locks here"), lock(tmp_path):
        raise OSError(errno.ENOLCK, "no locks here")
    with lock(tmp_path):  # it was released
        pass
    assert not filelock.FileLock(tmp_path / ".lock").is_locked


def test_a_file_is_complete_or_not_there(tmp_path):
    path = tmp_path / "file"

    def write_half():
        with whole_file(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []
    with whole_file(path) as one, whole_file(path) as other:
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_complete_file_may_have_the_longest_name_and_ordinary_permissions(tmp_path):
    path = tmp_path / ("x" * 255)
    with whole_file(path) as partial:
        partial.write_text("new")
    (tmp_path / "plain").touch()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("os.fsync", lambda number: synced.append((tmp_path / "a").exists()))
    write_json(tmp_path / "a", {})
    assert synced == [False]


def test_json_that_is_cut_off_is_named(tmp_path):
    path = tmp_path / "facts.json"
    write_json(path, {"a": [1, 2]})
    assert read_json(path) == {"a": [1, 2]}
    path.write_text(path.read_text()[:-4])
    with pytest.raises(UserError, match=r"facts.json cannot be parsed: "):
        read_json(path)
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"facts.json cannot be parsed: .*recursion"):
        read_json(path)
    path.write_text("[1]")
    with pytest.raises(UserError, match=r"facts.json holds list, expected a JSON object"):
        read_json(path)


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*/a.npz'"), whole_file(tmp_path / "a.npz"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_tensors_can_be_read_by_whoever_may_read_new_files(tmp_path):
    arrays = {"plain": np.arange(6.0).reshape(2, 3), "turned": np.arange(6.0).reshape(2, 3).T, "scalar": np.float32(2)}
    before = os.umask(0o027)
    try:
        write_tensors(tmp_path / "a.safetensors", arrays, {"format": "pt"})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o640
    with safe_open(tmp_path / "a.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}
        for name, array in arrays.items():
            np.testing.assert_array_equal(file.get_tensor(name), array, strict=True)
