"""The per-clip function: from the files of one clip to one example. Preparation and prediction both use it."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep.clips.options import ClipOptions
from data_prep.clips.speech import transcribe
from data_prep.clips.stretches import Stretch
from data_prep.clips.vision import NOTHING, Vision, in_order, read_face_images, read_video_faces
from data_prep.clips.word_times import Times
from data_prep.errors import ClipError, CorpusError
from data_prep.features.source import Features, FeatureSource, no_features, read_features
from data_prep.media.claims import cut_off_remarks, shown_until
from data_prep.media.container import SAMPLE_RATE, ffmpeg_warnings
from data_prep.media.remarks import (
    LONG,
    NO_AUDIO,
    NO_FACE,
    NO_TEXT,
    NO_VISION,
    SHORT,
    SHORTEST,
    SILENT,
    UNREADABLE,
    WARNED,
    WORDS_UNTIMED,
    Remark,
)
from data_prep.media.sound import read_sound
from data_prep.media.timeline import Timeline, read_timeline

ABSENT = {"vision": NO_VISION, "audio": NO_AUDIO, "text": NO_TEXT}
"""Kinds of remarks on clips without a modality."""

OF_WHOLE_CLIPS = (*ABSENT.values(), NO_FACE, SILENT, LONG, SHORT)
"""Kinds of remarks that say nothing about a clip where they are made on a stretch of it."""

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
        features: by modality, a user's own features, which take the place of the modality's media.
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
    features: Mapping[str, FeatureSource] = dataclasses.field(default_factory=dict)
    labels: tuple[float, ...] = ()
    subject: str = ""
    split: str = ""
    remarks: tuple[Remark, ...] = ()


class Clip(NamedTuple):
    """What was read of a clip.

    Attributes:
        example: an example, as documented in `data_prep.build.dataset`.
        remarks: irregularities in the clip's files.
        feature_rows: by modality with the user's own features, the number of valid rows and of all rows.
    """

    example: Mapping[str, Any]
    remarks: tuple[Remark, ...]
    feature_rows: dict[str, tuple[int, int]]


def read_clip(
    source: ClipSource, options: ClipOptions, asr_cache: Path | None = None, stretch: Stretch | None = None
) -> Clip:
    """Reads one clip: faces, sound and words, and the user's own features.

    Args:
        source: the clip's files and its data from the corpus' tables.
        options: how the clip is read.
        asr_cache: folder that caches recognised transcripts; None to cache nothing.
        stretch: the stretch of the clip to read; None for what `options.max_seconds` leave of it. Times are seconds
            since the clip's start, and the sound starts with the stretch. The first stretch also has all the words,
            unless they are recognised, and all the user's own features. The example also has what
            `data_prep.corpora.new_clips.read_clips` lists. Remarks on what only a stretch lacks are left out if it is
            not the whole clip.

    Raises:
        ClipError: a file of the clip is missing or broken, or the clip has no pictures, sound, words or features.
        CorpusError: the options name a detector or recogniser that does not exist.
    """
    try:
        return _read(source, options, asr_cache, stretch)
    except (ClipError, CorpusError):
        raise
    except Exception as error:  # decoders may raise any exception on broken media; one bad file must not stop the run
        raise ClipError(source.video or source.audio or source.id, f"{type(error).__name__}: {error}") from error


def has_pictures(source: ClipSource) -> bool:
    """Whether pictures of a clip are read, and not the user's own features in their place."""
    return "vision" not in source.features and (source.video is not None or source.faces is not None)


def duration(example: Mapping[str, Any]) -> float:
    """The length in seconds of what was read from a clip."""
    ends = [
        float(value[-1]) for name, value in example.items() if name.endswith("times") and value.ndim == 1 and len(value)
    ]
    return max([len(example["audio"]) / SAMPLE_RATE, *ends])


def _read(source: ClipSource, options: ClipOptions, asr_cache: Path | None, stretch: Stretch | None) -> Clip:
    start = stretch.start if stretch else 0.0
    remarks: list[Remark] = [] if start else list(source.remarks)
    with ffmpeg_warnings() as warned:
        (vision, *others), audio, features = _read_files(source, options, remarks, stretch)
    remarks += [Remark(WARNED, "; ".join(warned[:MOST_WARNINGS]))] if warned else []
    words, word_times = ((source.transcript or "").strip(), source.word_times) if not start else ("", ())
    if _is_to_transcribe(source, options) and len(audio):
        words, heard, untimed, _ = transcribe(audio, options.asr, options.asr_language, asr_cache)
        word_times = tuple((first + start, last + start) for first, last in heard)
        remarks += [Remark(WORDS_UNTIMED, untimed)] if untimed else []
    if "audio" in source.features:
        audio = audio[:0]  # only the recogniser needed it
    if not (start or vision.faces or len(audio) or words or any(len(own.times) for own in features.values())):
        raise ClipError(source.video or source.audio or source.id, _nothing(remarks))
    example = {
        "id": source.id,
        **_frames(vision),
        "audio": audio,
        "transcript": words,
        "word_times": np.array(word_times, np.float32).reshape(-1, 2),
        "labels": np.array(source.labels, np.float32),
        "subject": source.subject,
        **{f"{modality}_features": own.values for modality, own in features.items()},
        **{f"{modality}_feature_times": own.times for modality, own in features.items()},
    }
    if stretch:
        example["places"] = vision.places.astype(np.float32)
        example["person"] = np.full(len(vision.times), vision.person)
        example["others"] = {other.person: _frames(other) for other in others}
    seconds = duration(example)
    if seconds < SHORTEST and (vision.faces or len(audio)):
        remarks.append(Remark(SHORT, f"{seconds:.3f} s"))
    has = {"vision": bool(vision.faces), "audio": bool(len(audio)), "text": bool(words)}
    has |= {modality: bool(len(own.times)) for modality, own in features.items()}
    remarks += [Remark(ABSENT[modality]) for modality, is_there in has.items() if not is_there]
    rows = {modality: (len(own.times), own.rows) for modality, own in features.items()}
    if stretch and not stretch.whole:
        remarks = [remark for remark in remarks if remark.kind not in OF_WHOLE_CLIPS]
    return Clip(example, tuple(dict.fromkeys(remarks)), rows)


def _frames(vision: Vision) -> dict[str, Any]:
    """The entries of an example for its pictures."""
    return {
        "faces": vision.faces,
        "times": vision.times.astype(np.float32),
        "face_found": vision.found,
        "landmarks": vision.landmarks.astype(np.float32),
    }


def _read_files(
    source: ClipSource, options: ClipOptions, remarks: list[Remark], stretch: Stretch | None
) -> tuple[list[Vision], np.ndarray, dict[str, Features]]:
    """Returns the visions, the sound as int16 [samples] at 16 kHz, and the user's own features by modality.

    The first vision is that of the person who is read. What cannot be read is absent, with a remark, unless nothing at
    all can be read.
    """
    seen, audio = [NOTHING], np.zeros(0, np.int16)
    features: dict[str, Features] = {}
    failures: list[ClipError] = []
    start, end = (stretch.start, stretch.end) if stretch else (0.0, options.max_seconds)
    for modality, own in source.features.items():
        if start:
            features[modality] = no_features(own)
            continue
        try:
            features[modality] = read_features(own, math.inf if stretch else end, remarks)
        except ClipError as error:
            features[modality] = no_features(own)
            failures.append(error)
    looks = "vision" not in source.features
    listens = "audio" not in source.features or _is_to_transcribe(source, options)
    if looks and source.faces is not None:
        seen = [read_face_images(source.faces, options, remarks)]
    pictures = source.video if looks and source.faces is None else None
    voice = source.audio or (None if source.muted else source.video)
    sound = voice if listens else None
    for path in dict.fromkeys(path for path in (pictures, sound) if path is not None):
        try:
            timeline = _timeline(path, options, stretch)
            remarks += timeline.remarks
            ends: dict[str, float] = {}
            if path == pictures:
                remarks += timeline.track_remarks["video"]
                hear = functools.partial(_hear, voice, options, stretch)
                company = stretch.company if stretch else None
                seen = [in_order(each) for each in read_video_faces(path, timeline, options, remarks, hear, company)]
                ends["video"] = shown_until(timeline.seconds)
            if path == sound:
                remarks += timeline.track_remarks["audio"]
                audio, ends["audio"] = read_sound(path, timeline, end, remarks)
                if stretch and any(remark.kind == LONG for remark in remarks):
                    stretch.hear_on(path)
            remarks += cut_off_remarks(path.name, _comparable(timeline, ends), ends)
        except ClipError as error:
            failures.append(error)
    if failures and not (seen[0].faces or len(audio) or any(len(own.times) for own in features.values())):
        raise failures[0]
    remarks += [Remark(UNREADABLE, f"{Path(error.path).name}: {error.why}") for error in failures]
    return seen, audio, features


def _is_to_transcribe(source: ClipSource, options: ClipOptions) -> bool:
    return bool(options.asr) and source.transcript is None and "text" not in source.features


def _timeline(path: Path, options: ClipOptions, stretch: Stretch | None) -> Timeline:
    return stretch.timeline(path) if stretch else read_timeline(path, options.max_seconds)


def _hear(path: Path | None, options: ClipOptions, stretch: Stretch | None) -> np.ndarray:
    """The sound of a file, without remarks; [0] if there is none or it cannot be read."""
    end = stretch.end if stretch else options.max_seconds
    try:
        if path is not None:
            return read_sound(path, _timeline(path, options, stretch), end, [])[0]
    except ClipError:  # reported when the clip's sound is read
        pass
    return np.zeros(0, np.int16)


def _comparable(timeline: Timeline, ends: Mapping[str, float]) -> dict[str, float]:
    """The claimed ends that can be compared with what was read: the file's length only if all its tracks were read."""
    all_read = "video" in ends and ("audio" in ends or not timeline.has_sound)
    return {kind: end for kind, end in timeline.claimed.items() if kind in ends or all_read}


def _nothing(remarks: list[Remark]) -> str:
    reasons = [f"{remark.kind} ({remark.detail})" for remark in remarks]
    return "has no pictures, no sound, no transcript and no features" + (
        f": {'; '.join(reasons[:3])}" if reasons else ""
    )
