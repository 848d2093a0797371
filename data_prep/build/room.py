"""Estimates whether a dataset fits on the disk, before hours of work are spent on it."""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import av

from data_prep.build.staging import ENDING
from data_prep.clips.clip import ClipSource
from data_prep.clips.options import ClipOptions
from data_prep.errors import ClipError, CorpusError
from data_prep.features.source import FeatureSource
from data_prep.media.container import SAMPLE_RATE, open_media

PROBED = 16
"""Number of clips whose headers are read for an estimate."""

BYTES_PER_PIXEL, RATE = 0.2, 25
"""Assumptions of an estimate: bytes per pixel of the JPEG crops, and pictures per second."""

COPIES = 2
"""Copies of each clip on disk while the dataset is written: one in staging, one in the dataset."""

log = logging.getLogger("data_prep")


def check_room(out: Path, clips: Sequence[ClipSource], options: ClipOptions) -> None:
    """Refuses a preparation that certainly does not fit on the disk, and warns if it probably does not.

    The sound alone must fit. The size of the crops depends on the faces that are found, so it only leads to a warning.

    Args:
        out: the data folder, which may hold clips that an earlier call staged.
        clips: the clips; an evenly spaced sample of them is probed.
        options: how they will be read.

    Raises:
        CorpusError: there is certainly not enough room.
    """
    probed = [_bytes(clip, options) for clip in clips[:: max(1, len(clips) // PROBED)]]
    staged = sum(path.stat().st_size for path in (out / "staging").glob(f"*{ENDING}"))
    sound, crops = (COPIES * sum(sizes) / len(probed) * len(clips) for sizes in zip(*probed, strict=True))
    need_room(out, sound - staged, f"{len(clips)} clips")
    if sound + crops - staged > (free := shutil.disk_usage(out).free):
        log.warning(
            "%s: %d clips with a face take about %s, %s are free", out, len(clips), _size(sound + crops), _size(free)
        )


def need_room(out: Path, size: float, what: str) -> None:
    """Checks that at least `size` bytes are free.

    Raises:
        CorpusError: there is not enough room.
    """
    free = shutil.disk_usage(out).free
    if size > free:
        raise CorpusError(
            f"{out}: {what} need at least {_size(size)}, {_size(free)} are free on this disk; make room, or choose "
            "another folder with --out"
        )


def _bytes(clip: ClipSource, options: ClipOptions) -> tuple[float, float]:
    """Estimated bytes of a clip's sound and of its crops, according to its files' headers; 0 if they are unreadable.

    A user's own features, which take the place of either, count with the crops, by half their files' size.
    """
    looks, listens = "vision" not in clip.features, "audio" not in clip.features
    sound, seconds, has_pictures = 0.0, 0.0, looks and clip.faces is not None
    for path in filter(None, (clip.video, clip.audio) if looks or listens else ()):
        try:
            with open_media(path) as container:
                own = min((container.duration or 0) / av.time_base, options.max_seconds)
                sound = max(sound, own if listens and container.streams.audio else 0)
                seconds = max(seconds, own)
                has_pictures = has_pictures or (looks and bool(container.streams.video))
        except (ClipError, OSError):
            continue
    pictures = min(options.max_frames, RATE * seconds) if has_pictures else 0
    own = sum(_bytes_of_features(features) for features in clip.features.values())
    return sound * SAMPLE_RATE * 2, pictures * options.face_size**2 * BYTES_PER_PIXEL + own


def _bytes_of_features(source: FeatureSource) -> float:
    if source.path is None:
        return 0.0
    if source.ranges:
        return sum(end - start for start, end in source.ranges) / 2
    return source.path.stat().st_size / 2


def _size(count: float) -> str:
    unit, name = next(pair for pair in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if count >= pair[0] or pair[0] == 1e3)
    return f"{count / unit:.1f} {name}"
