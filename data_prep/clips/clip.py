"""The per-clip function: from the files of one clip to one example. Preparation and prediction both use it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep.clips.options import ClipOptions
from data_prep.clips.speech import transcribe
from data_prep.clips.vision import NOTHING, Vision, read_face_images, read_video_faces
from data_prep.clips.word_times import Times
from data_prep.errors import ClipError, CorpusError
from data_prep.media.claims import cut_off_remarks, shown_until
from data_prep.media.container import SAMPLE_RATE, ffmpeg_warnings
from data_prep.media.remarks import (
    NO_AUDIO,
    NO_TEXT,
    NO_VISION,
    SHORT,
    SHORTEST,
    UNREADABLE,
    WARNED,
    WORDS_UNTIMED,
    Remark,
)
from data_prep.media.sound import read_sound
from data_prep.media.timeline import Timeline, read_timeline

MOST_WARNINGS = 3
"""Most FFmpeg warnings that a remark quotes."""


@dataclasses.dataclass(frozen=True)
class ClipSource:
    """The files of one clip and its data from the corpus' tables.

    Attributes:
        id: the clip's name, unique within its split.
        video: a file with pictures, sound or both.
        audio: a sound file that replaces the video's own sound track.
        faces: a folder of numbered face images that replaces face detection in the video.
        muted: whether the video's own sound track is not read.
        transcript: the words; "" if nothing is said, None if the words are unknown.
        word_times: (start, end) in seconds of each whitespace-separated word of the transcript; empty where unknown.
        labels: intensities in [0, 1]; NaN where unknown; empty for an unlabelled clip.
        subject: the person in the clip; "" when unknown.
        split: train, valid or test.
        remarks: irregularities in how the clip and its words were found.
    """

    id: str
    video: Path | None = None
    audio: Path | None = None
    faces: Path | None = None
    muted: bool = False
    transcript: str | None = None
    word_times: Times = ()
    labels: tuple[float, ...] = ()
    subject: str = ""
    split: str = ""
    remarks: tuple[Remark, ...] = ()


class Clip(NamedTuple):
    """An example, as documented in `data_prep.build.dataset`, and remarks on irregularities in its files."""

    example: Mapping[str, Any]
    remarks: tuple[Remark, ...]


def read_clip(source: ClipSource, options: ClipOptions, asr_cache: Path | None = None) -> Clip:
    """Reads one clip: faces, sound and words.

    Args:
        source: the clip's files and its data from the corpus' tables.
        options: how the clip is read.
        asr_cache: folder that caches recognised transcripts; None to cache nothing.

    Raises:
        ClipError: a file of the clip is missing or broken, or the clip has no pictures, no sound and no words.
        CorpusError: the options name a detector or recogniser that does not exist.
    """
    try:
        return _read(source, options, asr_cache)
    except (ClipError, CorpusError):
        raise
    except Exception as error:  # decoders may raise any exception on broken media; one bad file must not stop the run
        raise ClipError(source.video or source.audio or source.id, f"{type(error).__name__}: {error}") from error


def duration(example: Mapping[str, Any]) -> float:
    """The length in seconds of what was read from a clip."""
    return max(len(example["audio"]) / SAMPLE_RATE, float(example["times"][-1]) if len(example["times"]) else 0.0)


def _read(source: ClipSource, options: ClipOptions, asr_cache: Path | None) -> Clip:
    remarks: list[Remark] = list(source.remarks)
    with ffmpeg_warnings() as warned:
        vision, audio = _read_media(source, options, remarks)
    remarks += [Remark(WARNED, "; ".join(warned[:MOST_WARNINGS]))] if warned else []
    words, word_times = (source.transcript or "").strip(), source.word_times
    if source.transcript is None and options.asr and len(audio):
        words, word_times, untimed, _ = transcribe(audio, options.asr, options.asr_language, asr_cache)
        remarks += [Remark(WORDS_UNTIMED, untimed)] if untimed else []
    if not vision.faces and not len(audio) and not words:
        raise ClipError(source.video or source.audio or source.id, _nothing(remarks))
    example = {
        "id": source.id,
        "faces": vision.faces,
        "times": vision.times.astype(np.float32),
        "face_found": vision.found,
        "landmarks": vision.landmarks.astype(np.float32),
        "audio": audio,
        "transcript": words,
        "word_times": np.array(word_times, np.float32).reshape(-1, 2),
        "labels": np.array(source.labels, np.float32),
        "subject": source.subject,
    }
    seconds = duration(example)
    if seconds < SHORTEST and (vision.faces or len(audio)):
        remarks.append(Remark(SHORT, f"{seconds:.3f} s"))
    missing = {NO_VISION: not vision.faces, NO_AUDIO: not len(audio), NO_TEXT: not words}
    remarks += [Remark(kind) for kind, is_so in missing.items() if is_so]
    return Clip(example, tuple(dict.fromkeys(remarks)))


def _read_media(source: ClipSource, options: ClipOptions, remarks: list[Remark]) -> tuple[Vision, np.ndarray]:
    """Returns the vision, and the sound as int16 [samples] at 16 kHz."""
    vision, audio = NOTHING, np.zeros(0, np.int16)
    if source.faces is not None:
        vision = read_face_images(source.faces, options, remarks)
    pictures = source.video if source.faces is None else None
    sound = source.audio or (None if source.muted else source.video)
    failures: list[ClipError] = []
    for path in dict.fromkeys(path for path in (pictures, sound) if path is not None):
        try:
            timeline = read_timeline(path, options.max_seconds)
            remarks += timeline.remarks
            ends: dict[str, float] = {}
            if path == pictures:
                remarks += timeline.track_remarks["video"]
                vision = read_video_faces(path, timeline, options, remarks)
                ends["video"] = shown_until(timeline.seconds)
            if path == sound:
                remarks += timeline.track_remarks["audio"]
                audio, ends["audio"] = read_sound(path, timeline, options.max_seconds, remarks)
            remarks += cut_off_remarks(path.name, _comparable(timeline, ends), ends)
        except ClipError as error:
            failures.append(error)
    if failures and not vision.faces and not len(audio):
        raise failures[0]
    remarks += [Remark(UNREADABLE, f"{Path(error.path).name}: {error.why}") for error in failures]
    return vision, audio


def _comparable(timeline: Timeline, ends: Mapping[str, float]) -> dict[str, float]:
    """The claimed ends that can be compared with what was read: the file's length only if all its tracks were read."""
    all_read = "video" in ends and ("audio" in ends or not timeline.has_sound)
    return {kind: end for kind, end in timeline.claimed.items() if kind in ends or all_read}


def _nothing(remarks: list[Remark]) -> str:
    reasons = [f"{remark.kind} ({remark.detail})" for remark in remarks]
    return "has no pictures, no sound and no transcript" + (f": {'; '.join(reasons[:3])}" if reasons else "")
