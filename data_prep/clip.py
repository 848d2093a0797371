"""The per-clip function: from the files of one clip to one example. Preparation and prediction both use it."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from data_prep.errors import ClipError
from data_prep.faces import SHRINKING, Box, FaceFinder, crop, track
from data_prep.media import Damage, open_media, picture_stamps, read_audio, read_pictures, seconds_of

IMAGES_PER_SECOND = 25.0  # of a folder of face images, which carries no times
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclasses.dataclass(frozen=True)
class ClipOptions:
    """How a clip is read.

    Attributes:
        max_frames: at most this many pictures, spread evenly over the clip's time.
        max_seconds: what comes later is not read.
        face_size: side of the face crops, in pixels.
        margin: share of the face's side that a crop adds all round.
        jpeg_quality: of the stored crops, 0 to 100.
    """

    max_frames: int = 400
    max_seconds: float = 12.0
    face_size: int = 224
    margin: float = 0.1
    jpeg_quality: int = 92


@dataclasses.dataclass(frozen=True)
class ClipSource:
    """Where one clip lies, and what tables say of it.

    Attributes:
        id: its name, unique in its split.
        video: a file with pictures, sound or both.
        audio: a file with the sound, in place of the video's own track.
        faces: a folder of numbered face images, in place of faces found in the video.
        transcript: the words; "" when there are none.
        labels: intensities in [0, 1]; NaN where unknown; empty for an unlabelled clip of any number of labels.
        subject: who is seen and heard; "" when unknown.
        split: train, valid or test.
    """

    id: str
    video: Path | None = None
    audio: Path | None = None
    faces: Path | None = None
    transcript: str = ""
    labels: tuple[float, ...] = ()
    subject: str = ""
    split: str = ""


class Clip(NamedTuple):
    """An example, as `data_prep.dataset` documents it, and remarks on what was odd about its files."""

    example: Mapping[str, Any]
    notes: tuple[str, ...]


def read_clip(source: ClipSource, options: ClipOptions) -> Clip:
    """Reads one clip: faces, sound and words.

    Raises:
        ClipError: a file of the clip is missing or broken, or there is nothing to see, hear or read in it.
    """
    notes: list[str] = []
    if source.faces is not None:
        faces, times, found = _read_face_images(source.faces, options, notes)
    elif source.video is not None:
        faces, times, found = _read_faces(source.video, options, notes)
    else:
        faces, times, found = [], np.zeros(0), np.zeros(0, bool)
    sound = source.audio or source.video
    damage = Damage()
    audio = np.zeros(0, np.int16) if sound is None else read_audio(sound, options.max_seconds, damage)
    if damage.packets:
        notes.append(f"{damage.packets} damaged packets of sound skipped")
    if not faces and not len(audio) and not source.transcript.strip():
        raise ClipError(source.video or source.audio or source.id, "has no pictures, no sound and no transcript")
    example = {
        "id": source.id,
        "faces": faces,
        "times": times.astype(np.float32),
        "face_found": found,
        "audio": audio,
        "transcript": source.transcript.strip(),
        "labels": np.array(source.labels, np.float32),
        "subject": source.subject,
    }
    return Clip(example, tuple(notes))


def pick_evenly(seconds: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most `most` pictures spread evenly over TIME, for ascending times [N] in seconds."""
    if len(seconds) <= most:
        return np.arange(len(seconds))
    targets = np.linspace(seconds[0], seconds[-1], most)
    after = np.clip(np.searchsorted(seconds, targets), 1, len(seconds) - 1)
    nearer_before = targets - seconds[after - 1] < seconds[after] - targets
    return np.unique(after - nearer_before)


def _read_faces(path: Path, options: ClipOptions, notes: list[str]) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    """Crops as JPEG, their times [N] and whether a face was found [N]; the video is decoded twice and never held."""
    with open_media(path) as container:
        stamps = picture_stamps(container)
        seconds = seconds_of(container, stamps)
    within = seconds < options.max_seconds
    stamps, seconds = stamps[within], seconds[within]
    picks = pick_evenly(seconds, options.max_frames)
    stamps, clock = stamps[picks], dict(zip(stamps[picks].tolist(), seconds[picks].tolist(), strict=True))

    damage = Damage()
    candidates: dict[int, list[Box]] = {}
    side = 0.0
    for stamp, picture in read_pictures(path, stamps, damage):
        candidates[stamp] = _finder().find(picture, at_least=SHRINKING * side)
        side = max((box.side for box in candidates[stamp]), default=side)
    boxes, found = track(list(candidates.values()))
    places: Sequence[Box | None] = boxes or [None] * len(found)
    pictures = read_pictures(path, np.array(list(candidates), np.int64), Damage())
    crops = [
        _jpeg(crop(picture, box, options.face_size, options.margin), options)
        for (_, picture), box in zip(pictures, places, strict=True)
    ]
    if damage.packets:
        notes.append(f"{damage.packets} damaged packets of pictures skipped")
    return crops, np.array([clock[stamp] for stamp in candidates]), found


def _read_face_images(
    folder: Path, options: ClipOptions, notes: list[str]
) -> tuple[list[bytes], np.ndarray, np.ndarray]:
    """The images of `folder/<n>.jpg` in the order of their numbers, as `_read_faces` gives them."""
    numbered = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.stem.isdigit()]
    paths = sorted(numbered, key=lambda path: (int(path.stem), path.name))
    seconds = np.arange(len(paths)) / IMAGES_PER_SECOND
    faces, times = [], []
    for index in pick_evenly(seconds, options.max_frames):
        image = cv2.imdecode(np.fromfile(paths[index], np.uint8), cv2.IMREAD_COLOR_RGB) if _size(paths[index]) else None
        if image is None:
            notes.append(f"face image {paths[index].name} cannot be read")
            continue
        faces.append(_jpeg(crop(image, None, options.face_size, 0.0), options))
        times.append(seconds[index])
    return faces, np.array(times), np.ones(len(faces), bool)


def _size(path: Path) -> int:
    return path.stat().st_size


def _jpeg(picture: np.ndarray, options: ClipOptions) -> bytes:
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality]
    )
    return data.tobytes()


@functools.cache
def _finder() -> FaceFinder:
    return FaceFinder()
