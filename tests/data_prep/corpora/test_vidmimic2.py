"""Hume-Vidmimic2 as published and as arranged by participants of the challenge."""

import math

import pytest

from data_prep.corpora.vidmimic2 import LABELS, read_vidmimic2
from data_prep.errors import CorpusError
from tests.data_prep.conftest import write_table

HEADER = ["Filename", *LABELS]


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
    assert clips["valid", "00003"].video == vidmimic2 / "raw/00003.mp4"  # reading the clip will report the missing file


def test_vidmimic2_notes_what_does_not_match(vidmimic2):
    notes = "\n".join(read_vidmimic2(vidmimic2, None).notes)
    assert "no transcripts: give them with --transcripts" in notes
    assert "1 clip in" in notes
    assert "00009 the first" in notes
    assert "3 clips without words in" in "\n".join(read_vidmimic2(vidmimic2, vidmimic2 / "words.csv").notes)


def test_vidmimic2_with_features_needs_no_media(tmp_path):
    for split, name in (("train", "00001"), ("valid", "2")):
        write_table(tmp_path / f"{split}_split.csv", ["Filename", *LABELS], [name, *[0.5] * 6])
    (tmp_path / "text").mkdir()
    (tmp_path / "text/00001.npy").touch()
    corpus = read_vidmimic2(tmp_path, None, features=[tmp_path / "text"])
    assert [(clip.id, clip.split) for clip in corpus.clips] == [("00001", "train"), ("00002", "valid")]


def test_vidmimic2_needs_its_folders(tmp_path):
    with pytest.raises(CorpusError, match="neither raw/ nor face_images/"):
        read_vidmimic2(tmp_path, None)


@pytest.fixture
def participants(tmp_path):
    """A corpus with train and valid in raw/, words in text/, and a test table of zeros."""
    for folder in ("raw", "text", "test_data/raw"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("00001", "00002", "00003"):
        (tmp_path / "raw" / f"{name}.mp4").touch()
        (tmp_path / "text" / f"{name}.txt").write_text(f"words of {name}\n")
    write_table(tmp_path / "train_split.csv", HEADER, ["00001", *[0.1] * 6], ["00002", *[0.2] * 6])
    write_table(tmp_path / "valid_split.csv", HEADER, ["00003", *[0.3] * 6])
    write_table(tmp_path / "test_split.csv", HEADER, ["00100", *[0.0] * 6], ["00101", *[0.0] * 6])
    return tmp_path


@pytest.mark.parametrize("home", ["raw", "test_data/raw", "test_data"])
def test_test_table_of_zeros_is_an_unlabelled_split_wherever_its_clips_are(participants, home):
    for name in ("00100", "00101"):
        (participants / home / f"{name}.mp4").touch()
    corpus = read_vidmimic2(participants, None)
    test = [clip for clip in corpus.clips if clip.split == "test"]
    assert [(clip.id, clip.video, clip.labels) for clip in test] == [
        ("00100", participants / home / "00100.mp4", ()),
        ("00101", participants / home / "00101.mp4", ()),
    ]
    assert len(corpus.clips) == 5
    assert "one and the same value everywhere: the split test is unlabelled" in "\n".join(corpus.notes)


@pytest.mark.parametrize("cells", [[], [""] * 6, [0] * 6, ["0.0"] * 5 + ["0"], [-1] * 6, [0.5] * 6])
def test_a_test_table_without_values_is_an_unlabelled_split(participants, cells):
    header = HEADER if cells else HEADER[:1]
    write_table(participants / "test_split.csv", header, ["00100", *cells], ["00101", *cells])
    assert [clip.labels for clip in read_vidmimic2(participants, None).clips if clip.split == "test"] == [(), ()]


def test_a_training_table_without_labels_is_an_error(participants):
    write_table(participants / "train_split.csv", HEADER[:1], ["00001"])
    with pytest.raises(CorpusError, match=r"train_split.csv, line 1: no column 'Admiration'"):
        read_vidmimic2(participants, None)


def test_a_test_table_with_labels_keeps_them(participants):
    write_table(participants / "test_split.csv", HEADER, ["00100", *[0.0] * 6], ["00101", *[0.0] * 5, 0.5])
    assert [clip.labels[5] for clip in read_vidmimic2(participants, None).clips if clip.split == "test"] == [0.0, 0.5]


def test_a_folder_of_words_is_found_and_named(participants):
    corpus = read_vidmimic2(participants, None)
    assert [clip.transcript for clip in corpus.clips] == [
        "words of 00001",
        "words of 00002",
        "words of 00003",
        None,
        None,
    ]
    assert f"2 clips without words in {participants / 'text'}" in "\n".join(corpus.notes)


def test_words_of_the_test_split_come_from_test_data_first(participants):
    (participants / "test_data/text").mkdir()
    (participants / "test_data/text/00100.txt").write_text("of the test")
    (participants / "text/00100.txt").write_text("of another clip")
    (clip,) = [clip for clip in read_vidmimic2(participants, None).clips if clip.id == "00100"]
    assert clip.transcript == "of the test"


@pytest.mark.parametrize("twin", ["1", "00001.mp4", "00001.0"])
def test_clip_named_twice_in_a_table_is_an_error_with_both_lines(participants, twin):
    write_table(participants / "train_split.csv", HEADER, ["00001", *[0.1] * 6], [twin, *[0.9] * 6])
    message = rf"train_split.csv, line 3, column 'Filename': found '{twin}', .*'00001' \(train_split.csv, line 2\)"
    with pytest.raises(CorpusError, match=message):
        read_vidmimic2(participants, None)


def test_a_clip_in_two_tables_is_an_error(participants):
    write_table(participants / "valid_split.csv", HEADER, ["2", *[0.1] * 6])
    with pytest.raises(CorpusError, match=r"valid_split.csv, line 2.*'00002' \(train_split.csv, line 3\)"):
        read_vidmimic2(participants, None)


def test_headers_in_other_spellings_are_found_and_extra_columns_named(participants):
    header = ["filename", *(label.upper().replace(" ", "_") for label in LABELS), "Age"]
    write_table(participants / "valid_split.csv", header, ["3", 0, 0, 0, 0.7, 0, 0, 44])
    corpus = read_vidmimic2(participants, None)
    (clip,) = [clip for clip in corpus.clips if clip.split == "valid"]
    assert (clip.id, clip.labels) == ("00003", (0, 0, 0, 0.7, 0, 0))
    notes = "\n".join(corpus.notes)
    assert "column 'EMPATHIC_PAIN' is read as Empathic Pain" in notes
    assert "columns that are not read: Age" in notes
