"""Pictures and sound out of media files, by timestamp and in constant memory, through PyAV.

Containers lie about their frame rate, so nothing here reads it: a picture's time is its own presentation timestamp.
Second 0 is the earliest timestamp of the file, for pictures and sound alike.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.container import InputContainer
from av.video.reformatter import VideoReformatter

from data_prep.errors import ClipError

SAMPLE_RATE = 16_000
MOST_PIXELS = 1 << 26  # of one picture, 8192 x 8192: a header that claims more is not believed


@dataclasses.dataclass
class Damage:
    """What of a stream could not be read.

    Attributes:
        packets: those that could not be decoded, or only with pieces missing.
        seconds: what its header claims beyond its last sample.
    """

    packets: int = 0
    seconds: float = 0.0


@contextlib.contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """Opens a media file for reading.

    Raises:
        ClipError: there is no such file, or it is no media file that FFmpeg can read.
    """
    if not path.is_file():  # a folder or a pipe is none, and a pipe would wait for ever
        raise ClipError(path, "no such file")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise ClipError(path, f"not a readable media file ({_reason(error)})") from error
    with container:
        try:
            yield container
        except av.FFmpegError as error:
            raise ClipError(path, f"cannot be read to its end ({_reason(error)})") from error


@contextlib.contextmanager
def ffmpeg_warnings() -> Iterator[list[str]]:
    """Collects what FFmpeg warns of in this thread; the list is full when the context is left."""
    messages: list[str] = []
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as logs:
            yield messages
    finally:
        av.logging.set_level(level)
    # The converter of colours warns of files that are fine.
    messages += dict.fromkeys(f"{part}: {text.strip()}" for _, part, text in logs if part != "swscaler")


def picture_stamps(container: InputContainer, max_seconds: float = math.inf) -> np.ndarray:
    """Presentation timestamps of the pictures before max_seconds, int64 [N], ascending, in the stream's own unit.

    They are read from the packets, without decoding; where packets carry none (AVI), the pictures are decoded. [0]
    without pictures.
    """
    stream = video_stream(container)
    if stream is None or stream.time_base is None:
        return np.zeros(0, np.int64)
    end = (max_seconds + _start(container)) / float(stream.time_base)
    stamps: list[int] = []
    for packet in container.demux(stream):
        if packet.size and not packet.is_discard:
            if packet.pts is None:
                container.seek(0)
                stamps = _decoded_stamps(container, stream, end)
                break
            if packet.pts < end:
                stamps.append(packet.pts)
        if packet.dts is not None and packet.dts >= end:  # no later packet is shown before it is decoded
            break
    return np.unique(np.array(stamps, np.int64))


def _decoded_stamps(container: InputContainer, stream: av.VideoStream, end: float) -> list[int]:
    stamps = []
    for frame in _decode(container, stream, Damage()):
        if frame.pts is not None:
            if frame.pts >= end:
                break
            stamps.append(frame.pts)
    return stamps


def seconds_of(container: InputContainer, stamps: np.ndarray) -> np.ndarray:
    """Timestamps as seconds since the file's earliest one, float64 [N]."""
    stream = video_stream(container)
    if stream is None or stream.time_base is None:
        return np.zeros(len(stamps))
    return np.maximum(stamps * float(stream.time_base) - _start(container), 0.0)


def read_pictures(path: Path, stamps: np.ndarray, damage: Damage) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (timestamp, uint8 [height, width, 3] RGB) for the given timestamps that can be decoded, ascending."""
    wanted = set(stamps.tolist())
    with open_media(path) as container:
        stream = video_stream(container)
        if stream is None or not wanted:
            return
        reformatter = VideoReformatter()  # one for all: setting up the colour conversion costs more than doing it
        for frame in _decode(container, stream, damage):
            if frame.pts in wanted:
                wanted.discard(frame.pts)
                picture = reformatter.reformat(frame, format="rgb24").to_ndarray()
                yield frame.pts, np.ascontiguousarray(np.rot90(picture, frame.rotation // 90))
            if not wanted:
                return


def read_audio(path: Path, max_seconds: float, damage: Damage) -> np.ndarray:
    """The first audio track, int16 [samples] mono at 16 kHz; [0] when there is none.

    Sound that starts after second 0 is preceded by silence, so that samples and pictures share their clock.
    """
    limit = round(max_seconds * SAMPLE_RATE)
    with open_media(path) as container:
        if not container.streams.audio:
            return np.zeros(0, np.int16)
        stream = container.streams.audio[0]
        resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
        pieces: list[np.ndarray] = []
        length = 0
        for frame in _decode(container, stream, damage):
            if not pieces and frame.time is not None:
                lead = round(max(0.0, frame.time - _start(container)) * SAMPLE_RATE)
                pieces.append(np.zeros(min(lead, limit), np.int16))
                length = len(pieces[0])
            for block in resampler.resample(frame):
                pieces.append(block.to_ndarray()[0])
                length += len(pieces[-1])
            if length >= limit:
                break
        else:
            pieces += [block.to_ndarray()[0] for block in resampler.resample(None)] if pieces else []
            length = sum(map(len, pieces))
            claimed = min(claimed_seconds(container, stream), max_seconds)
            damage.seconds = max(0.0, claimed - length / SAMPLE_RATE)
    return np.concatenate([np.zeros(0, np.int16), *pieces])[:limit]


def claimed_seconds(container: InputContainer, stream: av.stream.Stream) -> float:
    """How long the header says that a stream is; 0 when it does not say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    told = any(other.duration for other in container.streams)  # FLV tells of the whole file alone
    return 0.0 if told else (container.duration or 0) / av.time_base


def video_stream(container: InputContainer) -> av.VideoStream | None:
    """The first stream of moving pictures: cover art of a song is none."""
    cover = av.stream.Disposition.attached_pic
    return next((stream for stream in container.streams.video if not stream.disposition & cover), None)


def _decode(container: InputContainer, stream: av.stream.Stream, damage: Damage) -> Iterator:
    """Decodes what can be decoded; counts the packets that cannot."""
    stream.codec_context.thread_count = 1  # clips are read in parallel already
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            damage.packets += 1
            continue
        for frame in frames:
            damage.packets += bool(getattr(frame, "is_corrupt", False))  # subtitles have no such flag
            yield frame


def _start(container: InputContainer) -> float:
    return (container.start_time or 0) / av.time_base


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
