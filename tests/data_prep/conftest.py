import csv
import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from data_prep.build.prepare import prepare
from data_prep.clips.options import ClipOptions
from data_prep.corpora.synthetic import write_synthetic

COUNTS = {"train": 4, "valid": 2, "test": 3}
OPTIONS = ClipOptions(max_frames=4, face_size=32, margin=0.0, face="only", detector="haar")


@pytest.fixture(autouse=True)
def one_worker(monkeypatch):
    """Unless a test names a number, a single process reads its clips: to start one takes longer than to read them."""
    monkeypatch.setattr("data_prep.build.prepare.cpu_count", lambda: 1)


@pytest.fixture(scope="session")
def raw_corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "raw_corpus"
    write_synthetic(folder, COUNTS, seed=3, processes=1)
    return folder


@pytest.fixture(scope="session")
def built(raw_corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("built")
    report = prepare(
        "synthetic", out, source=raw_corpus, counts=COUNTS, seed=3, options=OPTIONS, processes=2, progress=False
    )
    return out, report


def write_table(path: Path, header, *rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_video(path: Path, seconds, claimed_rate=25, sound=None, sound_start=0.0, codecs=("libx264", "aac")) -> Path:
    """Writes grey pictures with brightness 5 n for picture n, shown at the given times; sound is at 16 kHz."""
    with av.open(str(path), "w") as container:
        if seconds is not None:
            video = container.add_stream(codecs[0], rate=claimed_rate)
            video.width = video.height = 64
            video.pix_fmt = "yuvj420p" if codecs[0] == "mjpeg" else "yuv420p"
            video.codec_context.time_base = Fraction(1, 1000)
        if sound is not None:
            audio = container.add_stream(codecs[1], rate=16_000, layout="mono")
        for number, second in enumerate(seconds if seconds is not None else []):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 5 * number % 256, np.uint8), format="rgb24")
            frame.pts, frame.time_base = round(second * 1000), Fraction(1, 1000)
            container.mux(video.encode(frame))
        if seconds is not None:
            container.mux(video.encode())
        if sound is not None:
            block = av.AudioFrame.from_ndarray((sound[None] * 32767).astype(np.int16), format="s16", layout="mono")
            block.sample_rate, block.time_base = 16_000, Fraction(1, 16_000)
            block.pts = round(sound_start * 16_000)
            container.mux(audio.encode(block))
            container.mux(audio.encode())
    return path


def decode(jpeg: bytes) -> np.ndarray:
    """uint8 [height, width, 3] RGB."""
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def tone(seconds: float, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 16_000)) / 16_000)
