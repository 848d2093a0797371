"""What a path stands for: one clip, a folder, a CSV of names; words beside a clip; a bad file is told and skipped."""

import shutil
from pathlib import Path

import pytest

from data_prep.clips.clip import ClipOptions
from data_prep.corpora.new_clips import find_clips, read_clips
from data_prep.errors import ClipError, CorpusError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.mp4", "a.wav", "notes.pdf"):
        (tmp_path / name).write_bytes(b"not really")
    (tmp_path / "a.txt").write_text("what a day")
    return tmp_path


def test_a_folder_is_every_media_file_in_it(folder):
    found = find_clips(folder)
    assert [(source.id, source.transcript) for source in found] == [("a", "what a day"), ("b", None)]


def test_a_file_is_itself(folder):
    (found,) = find_clips(folder / "a.wav")
    assert (found.video, found.transcript) == (folder / "a.wav", "what a day")


def test_a_csv_names_clips_beside_it_and_their_words(folder):
    (folder / "names.csv").write_text("Filename,Transcript\nb,hello there\na,\n")
    found = find_clips(folder / "names.csv")
    assert [(source.video, source.transcript) for source in found] == [
        (folder / "b.mp4", "hello there"),
        (folder / "a.wav", "what a day"),
    ]


@pytest.mark.parametrize(("name", "message"), [("none.mp4", "no such file or folder"), ("empty", "no media file")])
def test_nothing_there_is_an_error(name, message, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=message):
        find_clips(tmp_path / name)


def test_a_file_that_cannot_be_read_is_left_out_and_named(folder):
    shutil.copy(folder / "a.txt", folder / "c.mp4")
    left_out: list[Exception] = []
    assert not list(read_clips(find_clips(folder), ClipOptions(), left_out))
    assert all(isinstance(error, ClipError) for error in left_out)
    assert [Path(error.path).name for error in left_out] == ["a.wav", "b.mp4", "c.mp4"]
