"""Original clips and tables of published corpora: labels are those that a test calculates from them, not the reader."""

import collections
import csv
from pathlib import Path

import numpy as np
import pytest

from data_prep.build.check import check_dataset
from data_prep.build.dataset import open_dataset
from data_prep.build.prepare import prepare
from data_prep.clips.options import ClipOptions
from data_prep.corpora.cremad import LABELS, RATINGS, TABLE, read_cremad
from data_prep.corpora.new_clips import find_clips
from data_prep.corpora.reading import Request
from tests.data_prep.corpora.test_cremad import write_files, write_votes

CREMAD, RAVDESS = (Path(__file__).resolve().parents[4] / "shared/corpora" / name for name in ("cremad", "ravdess"))
OPTIONS = ClipOptions(max_frames=2, face_size=32, detector="haar")


def published_labels(ratings):
    """By clip name, the six mean intensities over all raters, calculated from the corpus' own table."""
    first = {"voice": "1", "face": "2", "audiovisual": "3"}[ratings]
    with (CREMAD / TABLE).open(newline="") as file:
        for row in csv.DictReader(file):
            if row[""][0] == first:
                counts = np.array([float(row[letter]) for letter in "ADFHNS"])
                labels = counts * [float(row[f"mean{label}Resp"]) for label in LABELS] / float(row["numResponses"])
                assert labels.sum() == pytest.approx(float(row["meanEmoResp"]))
                yield row["fileName"], labels


@pytest.mark.skipif(not CREMAD.is_dir(), reason="needs the tables of CREMA-D")
def test_validation_and_test_split_have_as_many_women_as_each_other(tmp_path):
    with (CREMAD / "VideoDemographics.csv").open(newline="") as file:
        women = {row["ActorID"] for row in csv.DictReader(file) if row["Sex"] == "Female"}
    write_votes(tmp_path, *(f"{actor}_DFA_ANG_XX" for actor in range(1001, 1092)))
    write_files(tmp_path, VideoFlash=[f"{actor}_DFA_ANG_XX.flv" for actor in range(1001, 1092)])
    splits = collections.Counter(clip.split for clip in read_cremad(tmp_path).clips if clip.subject in women)
    assert splits == {"train": 29, "valid": 7, "test": 7}


@pytest.mark.skipif(not CREMAD.is_dir(), reason="needs the sample of CREMA-D")
@pytest.mark.parametrize("ratings", RATINGS)
def test_labels_of_the_sample_of_cremad_are_those_of_its_table(ratings):
    expected = dict(published_labels(ratings))
    clips = read_cremad(CREMAD, ratings).clips
    assert len(clips) == 6
    for clip in clips:
        np.testing.assert_allclose(np.array(clip.labels) * 100, expected[clip.id], atol=1e-9)


@pytest.mark.skipif(not CREMAD.is_dir(), reason="needs the sample of CREMA-D")
def test_sample_of_cremad_is_prepared_with_pictures_sound_and_words(tmp_path):
    report = prepare("cremad", tmp_path, source=CREMAD, options=OPTIONS, processes=1, progress=False)
    names = [example["id"].decode() for example in open_dataset(tmp_path).as_data_source("train")]
    assert sorted(names) == [clip.id for clip in find_clips(CREMAD / "VideoFlash").clips]  # as prediction names them
    assert (report.clips, report.missing) == ({"train": 6}, {"vision": 0, "audio": 0, "text": 0})
    expected = dict(published_labels("audiovisual"))
    for example in open_dataset(tmp_path).as_data_source("train"):
        np.testing.assert_allclose(example["labels"] * 100, expected[example["id"].decode()], atol=1e-5)
        assert 1.8 < len(example["audio"]) / 16_000 < 2.5


@pytest.mark.skipif(not RAVDESS.is_dir(), reason="needs the sample of RAVDESS")
def test_sample_of_ravdess_is_prepared_with_each_performance_once(tmp_path):
    report = prepare("ravdess", tmp_path, source=RAVDESS, options=OPTIONS, processes=1, progress=False)
    assert (report.clips, report.missing) == ({"train": 3}, {"vision": 0, "audio": 0, "text": 0})
    assert "2 audio-only takes are not read" in " ".join(report.notes)
    assert check_dataset(tmp_path, Request("ravdess", RAVDESS), progress=False) == []
    labels = {row["id"].decode(): row["labels"].tolist() for row in open_dataset(tmp_path).as_data_source("train")}
    assert labels == {
        "01-01-01-01-02-01-05": [1, 0, 0, 0, 0, 0, 0, 0],
        "01-01-04-02-01-02-05": [0, 0, 0, 1, 0, 0, 0, 0],
        "01-01-06-02-02-01-05": [0, 0, 0, 0, 0, 1, 0, 0],
    }
    assert labels.keys() <= {clip.id for clip in find_clips(RAVDESS, recursive=True).clips}  # as prediction names them
