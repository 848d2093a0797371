"""Whether the disk has room for a dataset, before hours of work are spent on it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import av

from data_prep.clips.clip import ClipSource
from data_prep.clips.media import SAMPLE_RATE, open_media
from data_prep.clips.options import ClipOptions
from data_prep.errors import ClipError, CorpusError

PROBED = 16
"""Clips whose headers are read for an estimate."""

BYTES_PER_PIXEL = 0.1
"""Of the JPEG crops; real ones have two or three times as many: the estimate is a lower bound."""

RATE = 12
"""Pictures a second that an estimate reckons with."""


def check_room(out: Path, clips: Sequence[ClipSource], options: ClipOptions) -> None:
    """Stops a preparation that cannot fit on the disk: clips wait there in staging while the dataset is written.

    Args:
        out: the data folder, with what an earlier call staged.
        clips: the clips; a few spread over them are probed.
        options: how they will be read.

    Raises:
        CorpusError: there is certainly not enough room.
    """
    sizes = [_least_bytes(clip, options) for clip in clips[:: max(1, len(clips) // PROBED)]]
    staged = sum(path.stat().st_size for path in (out / "staging").glob("*.npz"))
    need_room(out, 2 * sum(sizes) / max(1, len(sizes)) * len(clips) - staged, f"{len(clips)} clips")


def need_room(out: Path, size: float, what: str) -> None:
    """Stops where fewer than so many bytes are free.

    Raises:
        CorpusError: there is not enough room.
    """
    free = shutil.disk_usage(out).free
    if size > free:
        raise CorpusError(
            f"{out}: {what} need at least {_readable(size)}, {_readable(free)} are free on this disk; make room, or "
            "choose another folder with --out"
        )


def _least_bytes(clip: ClipSource, options: ClipOptions) -> float:
    """A lower bound of what a clip takes when its files' headers are right; 0 where they cannot be read."""
    seconds, has_pictures = 0.0, clip.faces is not None
    for path in filter(None, (clip.video, clip.audio)):
        try:
            with open_media(path) as container:
                seconds = max(seconds, (container.duration or 0) / av.time_base)
                has_pictures = has_pictures or bool(container.streams.video)
        except (ClipError, OSError):
            continue
    seconds = min(seconds, options.max_seconds)
    pictures = min(options.max_frames, RATE * seconds) if has_pictures else 0
    return pictures * options.face_size**2 * BYTES_PER_PIXEL + seconds * SAMPLE_RATE * 2


def _readable(size: float) -> str:
    unit, name = next(pair for pair in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if size >= pair[0] or pair[0] == 1e3)
    return f"{size / unit:.1f} {name}"
