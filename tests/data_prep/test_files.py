import pytest

from data_prep.errors import CorpusError
from data_prep.files import sole_writer, whole_file, write_whole


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
