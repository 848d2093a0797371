"""Paths of new clips: one clip, a folder, a table of names; words next to clips; unreadable files are named."""

import os
import shutil
from pathlib import Path

import pytest

from data_prep.clips.clip import ClipOptions, read_clip
from data_prep.corpora.feature_files import FeatureRequest
from data_prep.corpora.new_clips import add_features, find_clips, fingerprint, read_clips
from data_prep.errors import ClipError, CorpusError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.mp4", "a.wav", "notes.pdf"):
        (tmp_path / name).write_bytes(b"not really")
    (tmp_path / "a.txt").write_text("what a day")
    return tmp_path


def test_folder_gives_every_media_file_in_it(folder):
    clips, notes = find_clips(folder)
    assert [(source.id, source.transcript) for source in clips] == [("a", "what a day"), ("b", None)]
    assert notes == (f"1 file in {folder} not read, hidden or without an ending of media: notes.pdf",)


def test_file_gives_one_clip(folder):
    (found,) = find_clips(folder / "a.wav").clips
    assert (found.video, found.transcript) == (folder / "a.wav", "what a day")


def test_a_table_names_clips_next_to_it_and_their_words(folder):
    (folder / "names.csv").write_text("Filename,Transcript\nb,hello there\na,\n")
    found = find_clips(folder / "names.csv").clips
    assert [(source.video, source.transcript) for source in found] == [
        (folder / "a.wav", "what a day"),
        (folder / "b.mp4", "hello there"),
    ]


def ids(found):
    return [(clip.id, clip.video.name) for clip in found.clips]


def test_two_files_of_one_stem_are_two_clips(tmp_path):
    for name in ("a.mp4", "a.wav", "take.mov", "take.mkv"):
        (tmp_path / name).touch()
    every = [(name, name) for name in ("a.mp4", "a.wav", "take.mkv", "take.mov")]
    assert ids(find_clips(tmp_path)) == every
    (tmp_path / "one.csv").write_text("Filename\na.wav\n")
    assert ids(find_clips(tmp_path / "one.csv")) == [("a", "a.wav")]
    (tmp_path / "both.csv").write_text("Filename\na.wav\na.mp4\n")
    assert ids(find_clips(tmp_path / "both.csv")) == every[:2]
    (tmp_path / "which.csv").write_text("Filename\ntake\n")
    with pytest.raises(CorpusError, match=r"line 2, .*'take', expected a name that fits one file, not take.mkv and"):
        find_clips(tmp_path / "which.csv")


def test_names_in_a_table_are_looked_up_as_in_preparation(tmp_path):
    for name in ("00007.MP4", "Andre\u0301.mov", "anna.happy.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "names.tsv").write_text(
        "clip\tmood\n7\t1\nAndr\u00e9\t2\nanna.happy\t3\nana.happy\t4\n", encoding="utf-8"
    )
    found = find_clips(tmp_path / "names.tsv")
    assert ids(found) == [
        ("00007", "00007.MP4"),
        ("Andr\u00e9", "Andre\u0301.mov"),
        ("ana.happy", "ana.happy"),
        ("anna.happy", "anna.happy.mp4"),
    ]
    assert "'ana.happy' names no file; most like it: anna.happy.mp4" in found.notes


def test_clips_of_features_alone_are_named_in_a_table(tmp_path):
    (tmp_path / "names.csv").write_text("Filename\nb.mp4\na\n")
    (tmp_path / "f").mkdir()
    for name in "ab":
        (tmp_path / f"f/{name}.csv").write_text("time,x,y\n0,1,2\n0.5,3,4\n")
    stored = {"vision": {"width": 1, "names": ["y"], "source": "csv", "rate": 0.0}}
    found = find_clips(tmp_path / "names.csv")
    assert found.notes == (f"{tmp_path} holds no media file",)
    clips, notes = add_features(found, {"vision": FeatureRequest(tmp_path / "f")}, stored)
    assert notes[0] == f"{tmp_path} holds no media file"
    assert notes[-1] == "2 clips without a media file, with features alone: a, b"
    options = ClipOptions(detector="haar")
    examples = [read_clip(clip, options).example for clip in clips]
    assert [(example["id"], example["vision_features"].tolist()) for example in examples] == [
        ("a", [[2], [4]]),
        ("b", [[2], [4]]),
    ]
    before = [fingerprint(clip, options) for clip in clips]
    (tmp_path / "f/b.csv").write_text("time,x,y\n0,1,2\n0.5,3,40\n")
    after = [fingerprint(clip, options) for clip in clips]
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)
    with pytest.raises(CorpusError, match="stored features hold"):
        add_features(found, {"vision": FeatureRequest(tmp_path / "f")}, {"vision": {}})


def test_a_file_named_twice_in_a_table_is_an_error(tmp_path):
    (tmp_path / "00001.mp4").touch()
    (tmp_path / "names.csv").write_text("Filename\n1\n00001.mp4\n")
    with pytest.raises(CorpusError, match=r"line 3, .*: line 2 names the same file 00001.mp4"):
        find_clips(tmp_path / "names.csv")


def test_subfolders_are_searched_on_request(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.mp4").touch()
    (tmp_path / "sub/b.txt").write_text("deep words")
    (tmp_path / "a.mp4").touch()
    assert [note for note in find_clips(tmp_path).notes if "not searched" in note]
    found = find_clips(tmp_path, recursive=True)
    assert [(clip.id, clip.transcript) for clip in found.clips] == [("a", None), ("b", "deep words")]


def test_other_json_next_to_a_clip_is_not_a_transcript(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "a.json").write_text('{"prediction": 0.5}')
    assert find_clips(tmp_path).clips[0].transcript is None


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX")
def test_names_that_are_not_utf8_are_read(tmp_path):
    with open(os.path.join(os.fsencode(tmp_path), b"Andr\xe9.mp4"), "wb"):
        pass
    (found,) = find_clips(tmp_path).clips
    assert (found.id, os.fsencode(found.video.name)) == ("Andr\u00e9", b"Andr\xe9.mp4")


@pytest.mark.parametrize(("name", "message"), [("none.mp4", "no such file or folder"), ("empty", "no media file")])
def test_path_without_clips_is_an_error(name, message, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match=message):
        find_clips(tmp_path / name)


def test_unreadable_file_is_left_out_and_named(folder):
    shutil.copy(folder / "a.txt", folder / "c.mp4")
    left_out: dict[str, ClipError] = {}
    clips = find_clips(folder).clips
    assert not list(
        read_clips(clips, ClipOptions(detector="haar"), lambda clip, error: left_out.update({clip.id: error}))
    )
    assert {name: Path(error.path).name for name, error in left_out.items()} == {
        "a": "a.wav",
        "b": "b.mp4",
        "c": "c.mp4",
    }
