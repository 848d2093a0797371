"""A small Vidmimic2 with each irregularity of the real corpus: preparation handles and reports all of them."""

import os
import pickle

import cv2
import numpy as np
import pytest

from data_prep.build.check import check_dataset
from data_prep.build.dataset import open_dataset
from data_prep.build.prepare import prepare
from data_prep.clips.options import ClipOptions
from data_prep.corpora.vidmimic2 import LABELS
from data_prep.media.remarks import (
    BAD_IMAGE,
    CUT_OFF,
    LONG,
    MANY_IMAGES,
    NO_AUDIO,
    NO_FACE,
    NO_TEXT,
    NO_VISION,
    SHORT,
    WRONG_ENDING,
    WRONG_RATE,
)
from tests.data_prep.conftest import tone, write_table, write_video

OPTIONS = ClipOptions(max_frames=40, face_size=32, detector="haar")
MANY = 2591
LABEL = {name: round(0.1 * number, 1) for number, name in enumerate(["5", "00001", "00003", "00002", "4", "00006"], 1)}


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def hertz(name: str) -> float:
    """The clip's tone in Hz: each clip has a different one, so that a wrong join is detected."""
    return 300.0 + 100 * int(name)


@pytest.fixture(scope="module")
def delivery(tmp_path_factory):
    root = tmp_path_factory.mktemp("delivery")
    for folder in ("raw", "audio", "vit", "face_images/00004", "test_data/raw"):
        (root / folder).mkdir(parents=True)

    def video(path, seconds, **rest):
        write_video(root / path, seconds, **rest)

    def sound(name, seconds=1.0):
        write_video(root / f"audio/{name}.mp3", None, sound=tone(seconds, hertz(name)), codecs=("", "libmp3lame"))

    video("raw/00001.mp4", np.arange(30) / 25 + np.random.default_rng(0).uniform(0, 0.03, 30))
    sound("00001")
    video("raw/00002.mp4", np.append(np.arange(0, 1248, 8.0), 1249.9), claimed_rate=1)
    sound("00002")
    video("raw/00003.mp4", [0.0, 0.04], sound=tone(0.064, hertz("3")))
    sound("00004")
    _, jpeg = cv2.imencode(".jpg", np.full((24, 24, 3), 90, np.uint8))
    for number in range(1, MANY + 1):
        (root / f"face_images/00004/{number}.jpg").write_bytes(jpeg.tobytes() if number > 1 else b"")
    video("raw/00005.mp4", np.arange(25) / 25)
    video("raw/00006.mp4", None, sound=tone(1.0, hertz("6")))
    video("raw/00010.mp4", [0.0, 0.04])
    truncated = write_video(root / "raw/00012.avi", np.arange(100) / 25, sound=tone(4.0), codecs=("mpeg4", "pcm_s16le"))
    truncated.write_bytes(truncated.read_bytes()[: truncated.stat().st_size // 2])
    truncated.rename(root / "raw/00012.mp4")
    video("test_data/raw/00100.mp4", np.arange(25) / 25, sound=tone(1.0, hertz("5")))
    (root / "vit/00001.pkl").write_bytes(pickle.dumps(Bomb()))
    rows = [[name, *[label] * 6] for name, label in LABEL.items()]
    write_table(root / "train_split.csv", ["Filename", *LABELS], *rows, ["00012", *[0.7] * 5, ""])
    write_table(root / "valid_split.csv", ["Filename", *LABELS], ["00009", *[0.8] * 6])
    words = [[name, f"words of {name}"] for name in ("00100", "00005", "00004", "00003", "00002")]
    write_table(root / "transcripts.csv", ["Filename", "Transcript"], *words, ["00001", ""])
    return root


@pytest.fixture(scope="module")
def prepared(delivery, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared")
    return out, prepare("vidmimic2", out, source=delivery, options=OPTIONS, processes=2, progress=False)


def test_only_missing_files_are_left_out(prepared):
    _, report = prepared
    assert report.clips == {"train": 7, "test": 1}
    assert [(entry["split"], entry["id"], entry["why"]) for entry in report.left_out] == [
        ("valid", "00009", "no such file")
    ]


def test_clips_are_joined_by_name(prepared):
    out, _ = prepared
    examples = {e["id"].decode(): e for e in open_dataset(out).as_data_source("train")}
    assert set(examples) == {"00001", "00002", "00003", "00004", "00005", "00006", "00012"}
    for name, label in LABEL.items():
        example = examples[name.zfill(5)]
        np.testing.assert_allclose(example["labels"], np.full(6, label), rtol=1e-6)
        if len(example["audio"]) > 8_000:
            spectrum = np.abs(np.fft.rfft(example["audio"][:8_000]))
            assert np.argmax(spectrum) * 2 == pytest.approx(hertz(name), abs=4)
    assert examples["00003"]["transcript"] == b"words of 00003"
    assert examples["00001"]["transcript"] == b""
    assert np.isnan(examples["00012"]["labels"][5])
    assert len(examples["00004"]["faces"]) == 39
    assert examples["00002"]["times"].max() <= 12
    (test,) = open_dataset(out).as_data_source("test")
    assert np.isnan(test["labels"]).all()
    assert len(test["audio"]) == pytest.approx(16_000, abs=2_000)


@pytest.mark.parametrize(
    ("kind", "name", "detail"),
    [
        (WRONG_RATE, "00001", "per second claimed"),
        (LONG, "00002", " s, read to 12 s"),
        (SHORT, "00003", "s"),
        (MANY_IMAGES, "00004", "300 given, 40 kept"),
        (LONG, "00004", "00004/: face images of 103.6 s, read to 12 s"),
        (BAD_IMAGE, "00004", "00004/1.jpg"),
        (NO_AUDIO, "00005", ""),
        (NO_VISION, "00006", ""),
        (NO_FACE, "00001", "30 pictures"),
        (NO_TEXT, "00001", ""),
        (WRONG_ENDING, "00012", "00012.mp4 holds avi"),
        (CUT_OFF, "00012", "bytes less than its header says"),
    ],
)
def test_the_report_names_each_trap(prepared, kind, name, detail):
    out, report = prepared
    details = [entry["detail"] for entry in report.remarks[kind] if entry["id"] == name]
    assert any(detail in found for found in details)
    assert kind in report.summary()
    assert kind in (out / "report.html").read_text()


def test_report_describes_the_corpus(prepared):
    _, report = prepared
    notes = "\n".join(report.notes)
    assert "1 clip in" in notes
    assert "00010 the first" in notes
    assert "1 clip without labels: those of the split test" in notes
    assert "with the video's own sound, 00005 the first" in notes
    assert "vit are not read (--features reads converted ones); reading a pickle may run any program" in notes
    assert not os.path.exists("exploded")


def test_check_finds_no_faults(prepared):
    assert check_dataset(prepared[0]) == []
