"""MELD as its archives unpack: official splits, labels, words and speakers from the tables, missing and wrong clips."""

import numpy as np
import pytest

from data_prep.build.check import check_dataset
from data_prep.build.dataset import open_dataset
from data_prep.build.prepare import prepare
from data_prep.clips.options import ClipOptions
from data_prep.corpora.meld import LABELS, PARTS, clip_name, read_meld
from data_prep.corpora.reading import Request
from data_prep.errors import CorpusError
from tests.data_prep.conftest import tone, write_table, write_video

HEADER = ["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID", "Season", "Episode"]
HEADER += ["StartTime", "EndTime"]
OPTIONS = ClipOptions(max_frames=2, face_size=32, detector="haar")


def row(dialogue, utterance, emotion="neutral", text="Hey!", speaker="Joey"):
    return [1, text, speaker, emotion, "neutral", dialogue, utterance, 4, 7, "00:20:57,256", "0:21:00,049"]


def write_part(folder, part, rows, files=()):
    write_table(folder / PARTS[part].table, HEADER, *rows)
    (folder / PARTS[part].folder).mkdir(exist_ok=True)
    for name in files:
        (folder / PARTS[part].folder / name).write_text(f"content of {name}")


@pytest.fixture
def corpus(tmp_path):
    write_part(
        tmp_path, "train", [row(0, 0, "joy"), row(0, 1, "Anger", "No!", "Ross")], ["dia0_utt0.mp4", "dia0_utt1.mp4"]
    )
    write_part(tmp_path, "dev", [row(0, 0, "fear")], ["dia0_utt0.mp4"])
    write_part(tmp_path, "test", [row(0, 0, "surprise")], ["dia0_utt0.mp4"])
    return tmp_path


def test_clips_carry_the_official_splits_and_one_label_each(corpus):
    clips = read_meld(corpus).clips
    assert [(clip.split, clip.id, clip.subject, clip.transcript) for clip in clips] == [
        ("train", "train_dia0_utt0", "Joey", "Hey!"),
        ("train", "train_dia0_utt1", "Ross", "No!"),
        ("valid", "dev_dia0_utt0", "Joey", "Hey!"),
        ("test", "test_dia0_utt0", "Joey", "Hey!"),
    ]
    assert clips[2].video == corpus / "dev_splits_complete/dia0_utt0.mp4"
    for clip, emotion in zip(clips, ("Joy", "Anger", "Fear", "Surprise"), strict=True):
        assert clip.labels == tuple(float(label == emotion) for label in LABELS)


def test_tables_and_clips_are_found_where_the_archives_unpack_them(corpus):
    for part, about in PARTS.items():
        (corpus / part).mkdir()
        (corpus / about.folder).rename(corpus / part / about.folder)
    (corpus / PARTS["dev"].table).rename(corpus / "dev" / PARTS["dev"].table)
    (corpus / "data/MELD").mkdir(parents=True)
    (corpus / PARTS["test"].table).rename(corpus / "data/MELD" / PARTS["test"].table)
    assert [clip.id for clip in read_meld(corpus).clips] == [
        "train_dia0_utt0",
        "train_dia0_utt1",
        "dev_dia0_utt0",
        "test_dia0_utt0",
    ]


def test_characters_of_windows_1252_are_mended(corpus):
    write_part(corpus, "dev", [row(0, 0, "fear", "I don\x92t know\x85", "Joey\x92s \x93Dad\x94")])
    found = read_meld(corpus)
    assert (found.clips[2].transcript, found.clips[2].subject) == ("I don’t know…", "Joey’s “Dad”")
    assert "dev_sent_emo.csv: control characters in 1 utterances are read as Windows-1252" in found.notes


def test_missing_unlabelled_and_wrong_clips_are_named(corpus):
    rows = [row(0, 0), row(38, 4), row(110, 7)]
    files = ["dia38_utt4.mp4", "dia108_utt2.mp4", "final_videos_testdia101_utt0.mp4", "._dia0_utt0.mp4"]
    write_part(corpus, "test", rows, files)
    found = read_meld(corpus)
    assert [clip.id for clip in found.clips if clip.split == "test"] == ["test_dia0_utt0"]
    notes = "\n".join(found.notes)
    assert "1 of 3 clips in test_sent_emo.csv without a file in output_repeated_splits_test, left out: dia110" in (
        notes
    )
    assert "left out of output_repeated_splits_test, since they hold minutes of an episode: dia38_utt4" in notes
    assert "1 clip in output_repeated_splits_test without a row in test_sent_emo.csv, not read: dia108_utt2" in notes
    assert "without a name of the corpus, not read: final_videos_testdia101_utt0.mp4" in notes
    assert "._dia0_utt0.mp4" in notes
    assert clip_name("final_videos_testdia101_utt0.mp4") == ""


def test_missing_part_leaves_its_split_empty_with_a_note(corpus):
    (corpus / PARTS["dev"].table).unlink()
    found = read_meld(corpus)
    assert {clip.split for clip in found.clips} == {"train", "test"}
    assert f"split valid is empty: found no dev_sent_emo.csv in {corpus}" in found.notes


def test_folder_without_clips_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"found no clip of MELD, expected .*; split train is empty"):
        read_meld(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0, 0, "bored")], "line 2, column 'Emotion': found 'bored', expected one of neutral, joy"),
        ([row("", 0)], "line 2, column 'Dialogue_ID': found '', expected a whole number"),
        ([row(0, 0), row(0, 0)], "line 3, column 'Utterance_ID': found '0', expected a number that is not used yet"),
        ([row(0, 0)[:-1]], "line 2: found 10 cells, expected 11"),
    ],
)
def test_invalid_cell_is_named(corpus, rows, message):
    write_part(corpus, "train", rows)
    with pytest.raises(CorpusError) as caught:
        read_meld(corpus)
    assert message in str(caught.value)


def test_table_without_a_column_is_refused(corpus):
    write_table(corpus / PARTS["train"].table, HEADER[2:], row(0, 0)[2:])
    with pytest.raises(
        CorpusError, match=r"line 1: no column 'Utterance'; found Speaker, Emotion, .*; expected Utterance"
    ):
        read_meld(corpus)


def test_prepared_dataset_leaves_a_broken_clip_out_and_keeps_recurring_speakers(corpus, tmp_path):
    for hertz, path in enumerate(sorted(corpus.glob("*/dia0_utt0.mp4")), 4):
        write_video(path, np.arange(10 + hertz) / 25, sound=tone(0.4, 100 * hertz))
    out = tmp_path / "out"
    report = prepare("meld", out, source=corpus, options=OPTIONS, processes=1, progress=False)
    assert report.clips == {"train": 1, "valid": 1, "test": 1}
    assert [entry["id"] for entry in report.left_out] == ["train_dia0_utt1"]
    (example,) = open_dataset(out).as_data_source("valid")
    assert (example["id"], example["labels"].tolist()) == (b"dev_dia0_utt0", [0, 0, 0, 0, 0, 0, 1])
    (fault,) = check_dataset(out, Request("meld", corpus), progress=False)
    assert fault == "subject Joey: found in test and train and valid, expected in one split"
