import collections
import math

import pytest

from data_prep.corpora.folder import read_folder
from data_prep.corpora.vidmimic2 import LABELS, read_vidmimic2
from data_prep.errors import CorpusError
from tests.data_prep.conftest import write_table


@pytest.fixture
def vidmimic2(tmp_path):
    for folder in ("raw", "audio", "face_images/00002", "vit", "test_data/raw", "test_data/audio"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("raw/00001.mp4", "raw/00009.mp4", "audio/00001.mp3", "audio/00002.mp3", "vit/00001.pkl"):
        (tmp_path / name).touch()
    for name in ("raw/00100.mp4", "raw/00101.mp4", "audio/00100.mp3"):
        (tmp_path / "test_data" / name).touch()
    write_table(tmp_path / "train_split.csv", ["Filename", *LABELS], ["00001", *[0.5] * 6], ["2", *[0] * 5, ""])
    write_table(tmp_path / "valid_split.csv", ["Filename", *LABELS], ["00003", *[1] * 6])
    write_table(tmp_path / "words.csv", ["Filename", "Transcript"], ["1", "hello"], ["00100", "bye"])
    write_table(tmp_path / "subjects.csv", ["Filename", "Subject"], ["1", "ann"], ["00003", "bob"])
    return tmp_path


def test_vidmimic2_is_joined_by_name(vidmimic2):
    corpus = read_vidmimic2(vidmimic2, vidmimic2 / "words.csv")
    clips = {(clip.split, clip.id): clip for clip in corpus.clips}
    assert list(clips) == [
        ("train", "00001"),
        ("train", "00002"),
        ("valid", "00003"),
        ("test", "00100"),
        ("test", "00101"),
    ]
    first, second, test = clips["train", "00001"], clips["train", "00002"], clips["test", "00100"]
    assert (first.video, first.audio) == (vidmimic2 / "raw/00001.mp4", vidmimic2 / "audio/00001.mp3")
    assert (first.faces, first.transcript, first.labels) == (None, "hello", (0.5,) * 6)
    assert (second.video, second.faces) == (None, vidmimic2 / "face_images/00002")
    assert [clip.subject for clip in corpus.clips] == ["ann", "", "bob", "", ""]  # 1 is 00001: spreadsheets drop zeros
    assert math.isnan(second.labels[5])
    assert (test.video, test.labels, test.transcript) == (vidmimic2 / "test_data/raw/00100.mp4", (), "bye")
    assert clips["valid", "00003"].video == vidmimic2 / "raw/00003.mp4"  # not there: reading it will say so


def test_vidmimic2_says_what_does_not_match(vidmimic2):
    notes = "\n".join(read_vidmimic2(vidmimic2, None).notes)
    assert "no transcripts: give them with --transcripts" in notes
    assert "1 clips in" in notes
    assert "00009 the first" in notes
    assert "3 clips are not in" in "\n".join(read_vidmimic2(vidmimic2, vidmimic2 / "words.csv").notes)


def test_vidmimic2_needs_its_folders(tmp_path):
    with pytest.raises(CorpusError, match="neither raw/ nor face_images/"):
        read_vidmimic2(tmp_path, None)


def test_folder_with_told_splits_and_other_units(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.wav").touch()
    write_table(
        tmp_path / "labels.csv",
        ["Filename", "Anger", "Split", "Subject", "Transcript"],
        ["a.mp4", 50, "train", "s1", "hi"],
        ["b", "", "validation", "s2", ""],
    )
    corpus = read_folder(tmp_path, None, (0.0, 100.0), None)
    a, b = corpus.clips
    assert (corpus.label_names, corpus.label_range) == (("Anger",), (0.0, 100.0))
    assert (a.id, a.video, a.labels, a.split, a.subject, a.transcript) == (
        "a",
        tmp_path / "a.mp4",
        (0.5,),
        "train",
        "s1",
        "hi",
    )
    assert (b.video, b.split) == (tmp_path / "b.wav", "valid")
    assert math.isnan(b.labels[0])


def test_folder_splits_keep_subjects_together_whatever_the_order(tmp_path):
    rows = [[f"clip{k}", 0.5, f"s{k % 20}"] for k in range(200)]
    splits = []
    for ordered in (rows, rows[::-1]):
        write_table(tmp_path / "labels.csv", ["Filename", "Joy", "Subject"], *ordered)
        clips = read_folder(tmp_path, None, (0.0, 1.0), None).clips
        splits.append({clip.id: clip.split for clip in clips})
        by_subject = collections.defaultdict(set)
        for clip in clips:
            by_subject[clip.subject].add(clip.split)
        assert all(len(found) == 1 for found in by_subject.values())
    assert splits[0] == splits[1]
    assert collections.Counter(splits[0].values()) == {"train": 140, "valid": 30, "test": 30}


@pytest.mark.parametrize("clips", [3, 4])
def test_folder_splits_of_few_clips_are_not_empty(tmp_path, clips):
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], *[[f"c{k}", 0.1] for k in range(clips)])
    found = {clip.split for clip in read_folder(tmp_path, None, (0.0, 1.0), None).clips}
    assert found == {"train", "valid", "test"}


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (
            ["Filename", "Joy", "Split"],
            ["a", 0.5, "holdout"],
            "line 2, column 'Split': found 'holdout', expected one of",
        ),
        (["Filename", "Subject"], ["a", "s"], "found no label column"),
        (["Filename", "Joy"], ["a", 50], "column 'Joy': found '50', expected .*--label-range"),
        (["Filename", "Joy", "Mood"], ["a", 0.5, "good"], "column 'Mood': found 'good', expected a number"),
    ],
)
def test_folder_faults(tmp_path, header, row, message):
    write_table(tmp_path / "labels.csv", header, row)
    with pytest.raises(CorpusError, match=message):
        read_folder(tmp_path, None, (0.0, 1.0), None)


def test_folder_names_that_differ_by_ending_only(tmp_path):
    write_table(tmp_path / "labels.csv", ["Filename", "Joy"], ["a.mp4", 0], ["a.mov", 0])
    with pytest.raises(CorpusError, match=r"line 3, column 'Filename': found 'a.mov', expected a name that differs"):
        read_folder(tmp_path, None, (0.0, 1.0), None)


def test_folder_label_range_is_checked(tmp_path):
    with pytest.raises(CorpusError, match="--label-range: found 1,0"):
        read_folder(tmp_path, None, (1.0, 0.0), None)
