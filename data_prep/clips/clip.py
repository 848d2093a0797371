"""The per-clip function: from the files of one clip to one example. Preparation and prediction both use it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep.clips.claims import CUT_OFF_SECONDS, odd_claims
from data_prep.clips.media import SAMPLE_RATE, Damage, ffmpeg_warnings, open_media, read_audio
from data_prep.clips.options import ClipOptions
from data_prep.clips.remarks import (
    CUT_OFF,
    DAMAGED_SOUND,
    NO_AUDIO,
    NO_TEXT,
    NO_VISION,
    SHORT,
    SHORTEST,
    WARNED,
    Remark,
)
from data_prep.clips.speech import transcribe
from data_prep.clips.vision import NOTHING, Vision, read_face_images, read_video_faces
from data_prep.errors import ClipError, CorpusError

MOST_WARNINGS = 3  # that a remark repeats


@dataclasses.dataclass(frozen=True)
class ClipSource:
    """Where one clip lies, and what tables say of it.

    Attributes:
        id: its name, unique in its split.
        video: a file with pictures, sound or both.
        audio: a file with the sound, in place of the video's own track.
        faces: a folder of numbered face images, in place of faces found in the video.
        transcript: the words; "" when it is told that there are none, None when nothing is told of them.
        labels: intensities in [0, 1]; NaN where unknown; empty for an unlabelled clip of any number of labels.
        subject: who is seen and heard; "" when unknown.
        split: train, valid or test.
        remarks: what was odd about how the clip and its words were found.
    """

    id: str
    video: Path | None = None
    audio: Path | None = None
    faces: Path | None = None
    transcript: str | None = None
    labels: tuple[float, ...] = ()
    subject: str = ""
    split: str = ""
    remarks: tuple[Remark, ...] = ()


class Clip(NamedTuple):
    """An example, as `data_prep.build.dataset` documents it, and remarks on what was odd about its files."""

    example: Mapping[str, Any]
    remarks: tuple[Remark, ...]


def read_clip(source: ClipSource, options: ClipOptions, asr_cache: Path | None = None) -> Clip:
    """Reads one clip: faces, sound and words.

    Args:
        source: the clip's files and what tables say of it.
        options: how it is read.
        asr_cache: folder in which recognised transcripts are kept; None keeps none.

    Raises:
        ClipError: a file of the clip is missing or broken, or there is nothing to see, hear or read in it.
        CorpusError: the options ask for what is not there.
    """
    try:
        return _read(source, options, asr_cache)
    except (ClipError, CorpusError):
        raise
    except Exception as error:  # broken media make decoders raise anything, and one bad file must never stop the rest
        raise ClipError(source.video or source.audio or source.id, f"{type(error).__name__}: {error}") from error


def duration(example: Mapping[str, Any]) -> float:
    """Seconds of a clip that were read."""
    return max(len(example["audio"]) / SAMPLE_RATE, float(example["times"][-1]) if len(example["times"]) else 0.0)


def _read(source: ClipSource, options: ClipOptions, asr_cache: Path | None) -> Clip:
    remarks: list[Remark] = list(source.remarks)
    with ffmpeg_warnings() as warned:
        faces, times, found = _read_vision(source, options, remarks)
        audio = _read_sound(source, options, remarks)
    remarks += [Remark(WARNED, "; ".join(warned[:MOST_WARNINGS]))] if warned else []
    if source.transcript is not None:
        words = source.transcript.strip()
    else:
        words = transcribe(audio, options.asr, asr_cache) if options.asr and len(audio) else ""
    if not faces and not len(audio) and not words:
        raise ClipError(source.video or source.audio or source.id, "has no pictures, no sound and no transcript")
    example = {
        "id": source.id,
        "faces": faces,
        "times": times.astype(np.float32),
        "face_found": found,
        "audio": audio,
        "transcript": words,
        "labels": np.array(source.labels, np.float32),
        "subject": source.subject,
    }
    seconds = duration(example)
    if seconds < SHORTEST and (faces or len(audio)):
        remarks.append(Remark(SHORT, f"{seconds:.3f} s"))
    lacking = {NO_VISION: not faces, NO_AUDIO: not len(audio), NO_TEXT: not words}
    remarks += [Remark(kind) for kind, is_so in lacking.items() if is_so]
    return Clip(example, tuple(dict.fromkeys(remarks)))


def _read_vision(source: ClipSource, options: ClipOptions, remarks: list[Remark]) -> Vision:
    if source.faces is not None:
        return read_face_images(source.faces, options, remarks)
    return NOTHING if source.video is None else read_video_faces(source.video, options, remarks)


def _read_sound(source: ClipSource, options: ClipOptions, remarks: list[Remark]) -> np.ndarray:
    """int16 [samples] at 16 kHz."""
    path = source.audio or source.video
    if path is None:
        return np.zeros(0, np.int16)
    if path == source.audio:
        with open_media(path) as container:
            remarks += odd_claims(container, options.max_seconds)
    damage = Damage()
    audio = read_audio(path, options.max_seconds, damage)
    if damage.packets:
        remarks.append(Remark(DAMAGED_SOUND, f"{damage.packets} packets"))
    if damage.seconds > CUT_OFF_SECONDS:
        remarks.append(Remark(CUT_OFF, f"{path.name}: sound lacks {damage.seconds:.1f} s"))
    return audio
