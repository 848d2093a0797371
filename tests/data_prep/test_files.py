import errno
import os

import pytest

from data_prep.errors import CorpusError
from data_prep.files import sole_writer, unusable, whole_file, write_whole


def _disk_full(path):
    with whole_file(path) as file:
        file.write(b"ne")
        raise OSError("disk full")


def test_a_file_is_whole_or_not_there(tmp_path):
    write_whole(tmp_path / "a", b"old")
    with pytest.raises(OSError, match="disk full"):
        _disk_full(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"
    write_whole(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"new")]


def test_two_preparations_do_not_share_a_folder(tmp_path):
    second = sole_writer(tmp_path)
    with sole_writer(tmp_path), pytest.raises(CorpusError, match="another preparation is writing"):
        second.__enter__()
    with sole_writer(tmp_path):
        pass


def test_a_whole_file_may_have_the_longest_name_and_ordinary_permissions(tmp_path):
    write_whole(tmp_path / ("x" * 255), b"new")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / ("x" * 255)).stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    with whole_file(tmp_path / "a") as one, whole_file(tmp_path / "a") as other:
        one.write(b"one")
        other.write(b"other")
    assert (tmp_path / "a").read_bytes() == b"one"  # the last one that ends
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_whole_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("data_prep.files.os.fsync", lambda number: synced.append((tmp_path / "a").exists()))
    write_whole(tmp_path / "a", b"new")
    assert synced == [False]


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("data_prep.files.fcntl.flock", refuse)
    with sole_writer(tmp_path):
        assert "has no locks; make sure that no other preparation writes to it" in caplog.text


def test_what_is_no_proper_file_is_named(tmp_path):
    (tmp_path / "good").write_bytes(b"x" * 2000)
    (tmp_path / "link").symlink_to(tmp_path / "good")
    (tmp_path / "broken").symlink_to("/nowhere/clip.mp4")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    (tmp_path / "lfs").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 1\n")
    (tmp_path / "annex").write_text("/annex/objects/SHA256E-s1632292--" + "ab" * 32 + ".mp4\n")
    found = {path.name: unusable(path) for path in tmp_path.iterdir()} | {"none": unusable(tmp_path / "none")}
    pointer = "is a pointer file, not the clip itself; fetch the clip with git lfs pull or git annex get"
    assert found == {
        "good": "",
        "link": "",
        "broken": "is a link to /nowhere/clip.mp4, which does not exist",
        "folder": "is a folder, not a file",
        "pipe": "is a pipe, socket or device, not a file",
        "empty": "is an empty file",
        "lfs": pointer,
        "annex": pointer,
        "none": "no such file",
    }
    assert unusable(tmp_path / ("x" * 300)) == "cannot be opened (File name too long)"
