"""Clips with a simultaneous flash and click, like a clapper board, in any container and codec."""

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from data_prep.media.pictures import read_pictures
from data_prep.media.remarks import Remark
from data_prep.media.sound import read_sound
from data_prep.media.timeline import read_timeline

RATE = 25
PIXEL_FORMATS = {"mjpeg": "yuvj420p", "prores": "yuv422p10le"}
EXPERIMENTAL = ("vorbis", "opus")


class Clapper(NamedTuple):
    """What was read from a clip: times of flash and click in seconds, pictures, seconds of sound, remarks by kind."""

    flash: float
    click: float
    pictures: int
    length: float
    remarks: dict[str, str]


def write_clapper(
    path: Path,
    video: str | None = "libx264",
    audio: str | None = "aac",
    *,
    event: float = 1.2,
    length: float = 2.0,
    rate: int = 48_000,
    format: str | None = None,
    options: dict[str, str] | None = None,
    video_start: float = 0.0,
    audio_start: float = 0.0,
    gap: tuple[float, float] | None = None,
    size: tuple[int, int] = (64, 64),
) -> Path:
    """Writes dark pictures and silence with a flash and an 800 Hz click of 0.2 s at `event` (none if past the end)."""
    packets: list = []
    with av.open(str(path), "w", format=format, options=options or {}) as container:
        if video:
            pictures = container.add_stream(video, rate=RATE)
            pictures.width, pictures.height = size
            pictures.pix_fmt = PIXEL_FORMATS.get(video, "yuv420p")
        if audio:
            layout = "stereo" if audio in EXPERIMENTAL else "mono"
            sound = container.add_stream(audio, rate=rate, layout=layout)
            sound.bit_rate = 12_200 if "amr" in audio else 96_000
            sound.codec_context.options = {"strict": "-2"} if audio in EXPERIMENTAL else {}
        container.start_encoding()
        if video:
            for number in range(round(RATE * length)):
                shade = 250 if event <= number / RATE + 1e-6 < event + 0.2 else 20
                frame = av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), shade, np.uint8), format="rgb24")
                frame = frame.reformat(format=pictures.pix_fmt)
                frame.pts, frame.time_base = number + round(video_start * RATE), Fraction(1, RATE)
                packets += pictures.encode(frame)
            packets += pictures.encode()
        if audio:
            wave = click(event, length, rate)
            for block, at in blocks(wave, sound, rate, gap):
                block.pts, block.time_base = at + round(audio_start * rate), Fraction(1, rate)
                packets += sound.encode(block)
            packets += sound.encode(None)
        for packet in sorted(packets, key=lambda packet: float((packet.dts or 0) * packet.time_base)):
            container.mux(packet)
    return path


def click(event: float, length: float, rate: int) -> np.ndarray:
    """Float [samples] with a tone of 0.2 s at `event`."""
    seconds = np.arange(round(rate * length)) / rate
    heard = (seconds >= event) & (seconds < event + 0.2)
    return np.where(heard, 0.6 * np.sin(2 * math.pi * 800 * (seconds - event)), 0.0)


def blocks(wave: np.ndarray, sound, rate: int, gap: tuple[float, float] | None = None):
    """Yields (frame, place of its first sample) of a float [samples] wave for an audio stream, without the gap."""
    context = sound.codec_context
    channels = context.layout.nb_channels
    samples = np.repeat((wave * 32767).astype(np.int16)[:, None], channels, 1).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=context.layout.name)
    frame.sample_rate = rate
    resampler = av.AudioResampler(context.format, context.layout, rate, context.frame_size or 800)
    at = 0
    for block in resampler.resample(frame) + resampler.resample(None):
        if gap is None or not gap[0] <= at / rate < gap[1]:
            yield block, at
        at += block.samples


def read_clapper(path: Path, max_seconds: float = 12.0) -> Clapper:
    """Reads a clip as preparation does."""
    timeline = read_timeline(path, max_seconds)
    remarks: list[Remark] = list(timeline.remarks)
    seconds = dict(zip(timeline.stamps.tolist(), timeline.seconds.tolist(), strict=True))
    levels = sorted(
        (seconds[stamp], picture.mean())
        for stamp, picture in read_pictures(path, timeline.stamps, remarks, timeline.joined)
    )
    audio, _ = read_sound(path, timeline, max_seconds, remarks)
    return Clapper(
        next((second for second, level in levels if level > 130), math.nan),
        first_loud(audio),
        len(levels),
        len(audio) / 16_000,
        dict(remarks),
    )


def first_loud(audio: np.ndarray, at_least: int = 4_000) -> float:
    """Time in seconds of the first loud sample in int16 [samples] at 16 kHz; NaN if there is none."""
    loud: Sequence[int] = np.flatnonzero(np.abs(audio.astype(np.int32)) > at_least).tolist()
    return loud[0] / 16_000 if loud else math.nan
