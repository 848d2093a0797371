"""Chooses the tracks of a media file to read: of the decodable tracks of each kind, the default one, else the first."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import av
from av.container import InputContainer
from av.stream import Disposition, Stream

from data_prep.media.remarks import NO_DECODER, OTHER_TRACKS, SUBTITLES, Remark

STILL = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
"""Cover art and thumbnails do not count as video."""
NAMES = {"video": "picture", "audio": "sound"}


Track = TypeVar("Track", bound=Stream)


class Tracks(NamedTuple):
    """The tracks that are read; None if there is no decodable one."""

    video: av.VideoStream | None
    audio: av.AudioStream | None


def choose_tracks(container: InputContainer) -> Tracks:
    """Chooses one track of each kind. Each is set to decode in this thread, since clips are read in parallel."""
    video, audio = _choose(_moving(container)), _choose(container.streams.audio)
    for stream in (video, audio):
        if stream is not None:
            stream.codec_context.thread_count = 1
    return Tracks(video, audio)


def track_remarks(container: InputContainer, kind: str) -> Iterator[Remark]:
    """Yields remarks on tracks that are not read or cannot be decoded; `kind` is video or audio."""
    name = Path(container.name).name
    streams: Sequence[Stream] = _moving(container) if kind == "video" else container.streams.audio
    chosen = _choose(streams)
    for number, stream in enumerate(streams, 1):
        if not _can_be_decoded(stream):
            yield Remark(NO_DECODER, f"{name}: {NAMES[kind]} track {number}, {_codec_tag(stream)}")
    if chosen is not None and len(streams) > 1:
        number = list(streams).index(chosen) + 1
        yield Remark(OTHER_TRACKS, f"{name}: {NAMES[kind]} track {number} of {len(streams)} is read")


def subtitle_remarks(container: InputContainer) -> Iterator[Remark]:
    """Yields a remark on the subtitle tracks of a file: they may be a translation, and are not read."""
    if languages := [stream.language or "und" for stream in container.streams.subtitles]:
        name = Path(container.name).name
        yield Remark(SUBTITLES, f"{name}: {', '.join(languages)}")


def _moving(container: InputContainer) -> list[av.VideoStream]:
    return [stream for stream in container.streams.video if not stream.disposition & STILL]


def _choose(streams: "Sequence[Track]") -> "Track | None":
    possible = [stream for stream in streams if _can_be_decoded(stream)]
    return next((stream for stream in possible if stream.disposition & Disposition.default), next(iter(possible), None))


def _can_be_decoded(stream: Stream) -> bool:
    return stream.codec_context is not None  # None if this build of FFmpeg has no decoder


def _codec_tag(stream: Stream) -> str:
    tag = getattr(stream, "codec_tag", "") or ""
    return f"codec {tag}" if tag.isprintable() and tag.strip("\0") else "codec unknown"
