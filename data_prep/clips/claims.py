"""What the header of a media file claims, held against what is in the file."""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from data_prep.clips.media import claimed_seconds, video_stream
from data_prep.clips.remarks import CUT_OFF, LONG, WRONG_ENDING, WRONG_RATE, Remark

CUT_OFF_SECONDS = 0.25  # a header may claim so much more than there is: the last picture is shown for a while
RATE_TOLERANCE = 1.25  # a claimed rate so many times too high or low is remarked on


def odd_claims(container: InputContainer, max_seconds: float) -> Iterator[Remark]:
    """What is odd about an open file as a whole; what comes after max_seconds is not read."""
    path = Path(container.name)
    endings = container.format.extensions or {container.format.name}
    if path.suffix.lower().lstrip(".") not in endings:
        yield Remark(WRONG_ENDING, f"{path.name} holds {container.format.name}")
    if lacking := _lacking_bytes(path):
        yield Remark(CUT_OFF, f"{path.name}: {lacking} bytes less than its header says")
    seconds = (container.duration or 0) / av.time_base
    if seconds > max_seconds:
        yield Remark(LONG, f"{path.name}: {seconds:.1f} s, read to {max_seconds:g} s")


def odd_picture_claims(container: InputContainer, seconds: np.ndarray, max_seconds: float) -> Iterator[Remark]:
    """What is odd about the pictures of an open file, whose ascending times [N] before max_seconds are given."""
    name = Path(container.name).name
    stream = video_stream(container)
    if stream is None:
        return
    if len(seconds) > 2:
        shown = (len(seconds) - 1) / (seconds[-1] - seconds[0])
        claims = [rate for rate in (stream.average_rate, stream.base_rate) if rate]
        wrong = float(max(claims, key=lambda rate: abs(math.log(rate / shown)), default=shown))
        if not 1 / RATE_TOLERANCE < wrong / shown < RATE_TOLERANCE:
            yield Remark(WRONG_RATE, f"{name}: {wrong:.4g} per second claimed, {shown:.3g} shown")
    end = float(seconds[-1]) if len(seconds) else 0.0
    claimed = min(claimed_seconds(container, stream), max_seconds)
    if claimed > end + CUT_OFF_SECONDS:
        yield Remark(CUT_OFF, f"{name}: last picture at {end:.1f} s of {claimed:.1f} s")


def _lacking_bytes(path: Path) -> int:
    """How many bytes a RIFF file (WAV, AVI) has less than its header says: FFmpeg reads on and says nothing."""
    with path.open("rb") as file:
        mark, size = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
    streamed = size >= 0xFFFFFF00  # a writer that could not go back to tell
    return 0 if mark != b"RIFF" or streamed else max(0, size + 8 - path.stat().st_size)
