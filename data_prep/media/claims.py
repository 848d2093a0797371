"""Compares what the header of a media file claims with what the file contains."""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.stream import Stream

from data_prep.media.formats import endings_of
from data_prep.media.remarks import CUT_OFF, WRONG_ENDING, WRONG_RATE, Remark
from data_prep.media.tracks import Tracks

CUT_OFF_SECONDS = 0.25
"""Seconds by which a header may claim more than the file contains, since the last picture is shown for a while."""
LEAPS = int(av.format.Flags.ts_discont.value)  # type: ignore[call-overload]
"""Flag of a format in which timestamps may restart or jump."""
RATE_TOLERANCE = 1.25
"""Factor by which a claimed frame rate may differ from the actual one without a remark."""


def file_remarks(container: InputContainer) -> Iterator[Remark]:
    """Compares the ending and the claimed size of an open file with its content."""
    path = Path(container.name)
    if path.suffix.lower().lstrip(".") not in endings_of(container):
        yield Remark(WRONG_ENDING, f"{path.name} holds {container.format.name}")
    if missing := _missing_bytes(path):
        yield Remark(CUT_OFF, f"{path.name}: {missing} bytes less than its header says")


def rate_remarks(container: InputContainer, stream: av.VideoStream | None, seconds: np.ndarray) -> Iterator[Remark]:
    """Compares the claimed frame rate with that of pictures at ascending times [N] in seconds."""
    if stream is None or len(seconds) < 3:
        return
    shown = (len(seconds) - 1) / (seconds[-1] - seconds[0])
    base = stream.base_rate if stream.base_rate != 2 * (stream.average_rate or 0) else None  # 2x counts fields
    claims = [rate for rate in (stream.average_rate, base) if rate]
    wrong = float(max(claims, key=lambda rate: abs(math.log(rate / shown)), default=shown))
    if not 1 / RATE_TOLERANCE < wrong / shown < RATE_TOLERANCE:
        name = Path(container.name).name
        yield Remark(WRONG_RATE, f"{name}: {wrong:.4g} per second claimed, {shown:.3g} shown")


def claimed_ends(container: InputContainer, tracks: Tracks) -> dict[str, float]:
    """The ends, in seconds, that the header gives for video and audio or, if it has no length per track, for the file.

    A length that FFmpeg merely estimates from the bit rate does not count, nor does one in a format in which recordings
    may be joined.
    """
    if container.format.flags & LEAPS:
        return {}
    ends: dict[str, float] = {}
    for stream in tracks:
        end = None if stream is None else _claimed_end(container, stream)
        if stream is not None and end is not None:
            ends[stream.type] = end
    if not ends and container.duration and not any(stream.duration for stream in container.streams):
        ends = {"file": container.duration / av.time_base}
    return ends


def shown_until(seconds: np.ndarray) -> float:
    """When the last of the pictures at ascending times [N] in seconds ends, if shown for as long as the others."""
    return float(seconds[-1] + np.median(np.diff(seconds))) if len(seconds) > 1 else float(seconds.sum())


def cut_off_remarks(name: str, claimed: dict[str, float], ends: dict[str, float]) -> Iterator[Remark]:
    """Compares claimed ends with the ends of what was read.

    Args:
        name: the file's name.
        claimed: the result of `claimed_ends`, limited to the time that is read at most.
        ends: the end of the last picture ("video") and of the last sample ("audio") in seconds, for the tracks read.
    """
    found = {**ends, "file": max(ends.values(), default=0.0)}
    for kind, what in (("video", "last picture"), ("audio", "last sound"), ("file", "last picture or sound")):
        if kind in claimed and kind in found and claimed[kind] > found[kind] + CUT_OFF_SECONDS:
            yield Remark(CUT_OFF, f"{name}: {what} at {found[kind]:.1f} s of {claimed[kind]:.1f} s")


def _claimed_end(container: InputContainer, stream: Stream) -> float | None:
    if not stream.duration or not stream.time_base:
        return None
    seconds = float(stream.duration * stream.time_base)
    rate = getattr(stream, "bit_rate", None)
    if rate and abs(seconds * rate / 8 - container.size) < 0.002 * container.size:
        return None
    return seconds + float((stream.start_time or 0) * stream.time_base)


def _missing_bytes(path: Path) -> int:
    """How many bytes a RIFF file (WAV, AVI) lacks according to its header; FFmpeg does not warn about this."""
    with path.open("rb") as file:
        mark, size = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
    streamed = size >= 0xFFFFFF00  # the writer could not seek back to fill in the size
    return 0 if mark != b"RIFF" or streamed else max(0, size + 8 - path.stat().st_size)
