"""RAVDESS: labels, sentences and splits from file names; each performance once; trees as users have them."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.build.check import check_dataset
from data_prep.build.dataset import open_dataset
from data_prep.build.prepare import prepare
from data_prep.clips.options import ClipOptions
from data_prep.corpora.ravdess import LABELS, read_ravdess, take_name
from data_prep.corpora.reading import Request
from data_prep.errors import CorpusError
from tests.data_prep.conftest import tone, write_video

OPTIONS = ClipOptions(max_frames=2, face_size=32, detector="haar")


def write_files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"content of {Path(name).name}")


@pytest.mark.parametrize(
    ("name", "label", "value"),
    [
        ("01-01-01-01-02-01-05.mp4", "Neutral", 1.0),
        ("01-01-02-01-02-01-05.mp4", "Calm", 0.5),
        ("01-01-03-02-02-01-05.mp4", "Happy", 1.0),
        ("01-02-04-01-02-01-05.mp4", "Sad", 0.5),
        ("01-01-05-02-02-01-05.mp4", "Angry", 1.0),
        ("01-01-06-01-02-01-05.mp4", "Fearful", 0.5),
        ("03-01-07-02-02-01-05.wav", "Disgust", 1.0),
        ("01-01-08-01-02-01-05.mp4", "Surprised", 0.5),
    ],
)
def test_label_is_the_acted_intensity(name, label, value, tmp_path):
    write_files(tmp_path, name)
    corpus = read_ravdess(tmp_path)
    assert dict(zip(corpus.label_names, corpus.clips[0].labels, strict=True)) == {
        **dict.fromkeys(LABELS, 0.0),
        label: value,
    }


def test_each_performance_is_read_once_in_its_fullest_version(tmp_path):
    write_files(
        tmp_path,
        "Actor_05/01-01-04-02-01-02-05.mp4",
        "Actor_05/02-01-04-02-01-02-05.mp4",
        "Actor_05/03-01-04-02-01-02-05.wav",
        "Actor_05/02-01-04-02-01-01-05.mp4",
        "Actor_05/03-01-04-02-01-01-05.wav",
        "Actor_05/02-01-05-02-02-01-05.mp4",
    )
    corpus = read_ravdess(tmp_path)
    folder = tmp_path / "Actor_05"
    assert [(clip.id, clip.video, clip.audio) for clip in corpus.clips] == [
        ("01-01-04-02-01-02-05", folder / "01-01-04-02-01-02-05.mp4", None),
        ("02-01-05-02-02-01-05", folder / "02-01-05-02-02-01-05.mp4", None),
        ("03-01-04-02-01-01-05", None, folder / "03-01-04-02-01-01-05.wav"),
    ]
    assert [clip.transcript for clip in corpus.clips] == [
        "Kids are talking by the door.",
        "Dogs are sitting by the door.",
        "Kids are talking by the door.",
    ]
    notes = "\n".join(corpus.notes)
    assert "2 video-only takes are not read, since another version" in notes
    assert "1 audio-only takes are not read, since another version" in notes
    assert "1 performances are video-only" in notes
    assert "1 performances are audio-only" in notes


@pytest.mark.parametrize("tree", ["", "Actor_18/", "Video_Speech_Actor_18/", "audio/Actor_18/"])
def test_takes_are_found_in_any_folder(tree, tmp_path):
    write_files(tmp_path, f"{tree}01-01-04-02-01-02-18.mp4", f"{tree}01-01-04-02-01-02-18.txt")
    (clip,) = read_ravdess(tmp_path).clips
    assert (clip.id, clip.subject, clip.split) == ("01-01-04-02-01-02-18", "Actor_18", "valid")


def test_actors_are_split_with_as_many_women_as_men(tmp_path):
    write_files(tmp_path, *(f"03-01-05-01-01-01-{actor:02d}.wav" for actor in range(1, 25)))
    splits = {}
    for clip in read_ravdess(tmp_path).clips:
        splits.setdefault(clip.split, []).append(int(clip.subject[-2:]))
    assert splits == {"train": [*range(1, 17)], "valid": [17, 18, 19, 20], "test": [21, 22, 23, 24]}
    assert all(sum(actor % 2 for actor in actors) == len(actors) / 2 for actors in splits.values())


def test_vocal_chooses_speech_or_song(tmp_path):
    write_files(tmp_path, "01-01-05-01-01-01-01.mp4", "01-02-05-01-01-01-01.mp4", "02-02-05-01-01-01-01.mp4")
    spoken, sung, both = (read_ravdess(tmp_path, vocal) for vocal in ("speech", "song", "both"))
    assert [clip.id for clip in spoken.clips] == ["01-01-05-01-01-01-01"]
    assert [clip.id for clip in sung.clips] == ["01-02-05-01-01-01-01"]
    assert [clip.id for clip in both.clips] == ["01-01-05-01-01-01-01", "01-02-05-01-01-01-01"]
    assert (sung.label_names, len(sung.clips[0].labels)) == (LABELS[:6], 6)  # songs have no disgust and no surprise
    assert (spoken.label_names, both.label_names) == (LABELS, LABELS)
    assert "2 takes of song are not read (--vocal=both does)" in spoken.notes
    assert "1 takes of speech are not read (--vocal=both does)" in sung.notes
    (tmp_path / "01-01-05-01-01-01-01.mp4").unlink()
    assert "all takes are songs" in read_ravdess(tmp_path).notes[-3]
    with pytest.raises(CorpusError, match="found no speech among 2 takes; --vocal=both reads all"):
        read_ravdess(tmp_path, "speech")


def test_a_copied_folder_is_read_once_and_a_differing_copy_is_refused(tmp_path):
    write_files(tmp_path, "Actor_01/03-01-05-01-01-01-01.wav", "all/Actor_01/03-01-05-01-01-01-01.wav")
    corpus = read_ravdess(tmp_path)
    assert [clip.audio for clip in corpus.clips] == [tmp_path / "Actor_01/03-01-05-01-01-01-01.wav"]
    assert "not read, as second copies: all/Actor_01/03-01-05-01-01-01-01.wav" in " ".join(corpus.notes)
    (tmp_path / "all/Actor_01/03-01-05-01-01-01-01.wav").write_text("something else")
    with pytest.raises(CorpusError, match="both are clip 03-01-05-01-01-01-01, with different content; keep one"):
        read_ravdess(tmp_path)


@pytest.mark.parametrize(
    "file",
    [
        "01-01-01-02-01-01-05.mp4",  # neutral is never strong
        "01-02-07-01-01-01-05.mp4",  # no song shows disgust
        "01-01-09-01-01-01-05.mp4",
        "01-01-05-01-01-01-25.mp4",
        "01-01-05-01-01-01-05.wav",  # sound that somebody extracted from the video
        "03-01-05-01-01-01-05.mp4",
        "01-01-05-01-01-01.mp4",
        "x01-01-05-01-01-01-05.mp4",
    ],
)
def test_names_that_no_take_has_are_refused(file, tmp_path):
    assert take_name(file) == ""
    write_files(tmp_path, file)
    with pytest.raises(CorpusError, match="found no clip, expected files such as Actor_05/01-01-06-02-02-01-05"):
        read_ravdess(tmp_path)


def test_archives_that_are_not_unpacked_are_named(tmp_path):
    write_files(tmp_path, "Video_Speech_Actor_01.zip")
    with pytest.raises(CorpusError, match=r"found no clip, .*; 1 file in .* not read, .*Video_Speech_Actor_01\.zip"):
        read_ravdess(tmp_path)


def test_prepared_dataset_holds_video_and_sound_of_their_takes(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    for actor, seconds in {1: 0.4, 17: 0.5, 24: 0.6}.items():
        (source / f"Actor_{actor:02d}").mkdir(parents=True)
        stem = source / f"Actor_{actor:02d}"
        sound, times = tone(seconds, 300), np.arange(round(25 * seconds)) / 25
        write_video(stem / f"01-01-03-01-01-01-{actor:02d}.mp4", times, sound=sound)
        write_video(stem / f"02-01-03-01-01-01-{actor:02d}.mp4", times)
        audio_only = stem / f"03-01-04-02-02-01-{actor:02d}.wav"
        write_video(audio_only, None, sound=tone(seconds, 700), codecs=("", "pcm_s16le"))
    report = prepare("ravdess", out, source=source, options=OPTIONS, processes=1, progress=False)
    assert report.clips == {"train": 2, "valid": 2, "test": 2}
    assert check_dataset(out, Request("ravdess", source), progress=False) == []
    happy, sad = open_dataset(out).as_data_source("test")
    assert (len(happy["faces"]), len(sad["faces"])) == (2, 0)
    assert (list(happy["labels"]), list(sad["labels"])) == ([0, 0, 0.5, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0])
    assert len(sad["audio"]) == 9_600
    assert [example["transcript"][:4] for example in (happy, sad)] == [b"Kids", b"Dogs"]
