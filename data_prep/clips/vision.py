"""The vision of a clip: face crops from a video, or the images in a folder of face images."""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from data_prep.clips.alignment import Square
from data_prep.clips.crops import centre_of, cut, landmarks_in_crop
from data_prep.clips.detectors import HAAR, load_detector
from data_prep.clips.faces import Box, Detector, Face, as_face
from data_prep.clips.options import LANDMARKS, ONLY, SPEAKING, ClipOptions
from data_prep.clips.placement import place_crops
from data_prep.clips.speaking import find_speaker, see_mouth
from data_prep.clips.tracks import SHRINKING, Company, Track, find_tracks, people
from data_prep.media.container import MOST_PIXELS
from data_prep.media.pictures import read_pictures
from data_prep.media.remarks import BAD_IMAGE, CENTRED, LONG, MANY_IMAGES, NO_FACE, PEOPLE, Remark
from data_prep.media.timeline import Timeline

IMAGES_PER_SECOND = 25.0
"""Images per second in a folder of face images, which are numbered like the video's pictures."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
ALIKE = 0.7
"""Share of the only person's face in one picture below which no face is searched for in the next."""
MOST_KEPT = 1 << 26
"""Bytes of a video's pictures up to which they are kept in memory rather than decoded again."""


class Vision(NamedTuple):
    """Face crops [N] as JPEG, their times and what was found in them.

    Attributes:
        faces: the crops.
        times: float64 [N], in seconds.
        found: bool [N], whether each counts as a face.
        landmarks: float64 [N, 5, 2] in shares of the crop's side, NaN where unknown; see `data_prep.build.dataset`.
        places: float64 [N, 4], the square of the face in the picture: x and y of its centre and its side in shares of
            the picture's longer side, and its angle in radians, clockwise; NaN where no face was found.
        person: the person's number, if people are numbered; 0 for nobody.
    """

    faces: list[bytes]
    times: np.ndarray
    found: np.ndarray
    landmarks: np.ndarray
    places: np.ndarray
    person: int = 0


UNKNOWN = np.full((5, 2), np.nan)
"""Landmarks of a face that has none."""

NOTHING = Vision([], np.zeros(0), np.zeros(0, bool), np.zeros((0, 5, 2)), np.zeros((0, 4)))


def read_video_faces(
    path: Path,
    timeline: Timeline,
    options: ClipOptions,
    remarks: list[Remark],
    hear: Callable[[], np.ndarray],
    company: Company | None = None,
) -> list[Vision]:
    """Detects, tracks and crops a face in a video. Decodes it again for the crops if its pictures exceed MOST_KEPT.

    Args:
        path: the video.
        timeline: its timeline.
        options: how it is read.
        remarks: list to which remarks are appended.
        hear: gives the sound from the timeline's `since` on, int16 [M] at 16 kHz; called only to find out which of
            several people speaks.
        company: numbers the people of the video; None if only one is wanted.

    Returns:
        First the vision of the person who is read, or of nobody; then, with `company`, that of the others.

    Raises:
        ClipError: the file is missing or not a media file.
    """
    picks = pick_evenly(timeline.seconds, options.max_frames)
    stamps = timeline.stamps[picks]
    clock = dict(zip(stamps.tolist(), timeline.seconds[picks].tolist(), strict=True))
    scales: dict[int, float] = {}  # faces are tracked as shares of the longer side, since the size may change midway
    candidates: list[list[Face]] = []
    mouths: list[dict[Box, np.ndarray]] = []
    side, find = 0.0, _detector(options)
    kept: list[tuple[int, np.ndarray]] = []
    size = 0
    for stamp, picture in read_pictures(path, stamps, remarks, timeline.joined):
        size += picture.nbytes
        if size <= MOST_KEPT:
            kept.append((stamp, picture))
        else:
            kept.clear()
        scale = scales[stamp] = float(max(picture.shape))
        followed = options.face == ONLY and candidates and candidates[-1]
        faces = [as_face(face) for face in find(picture, (ALIKE if followed else SHRINKING) * side * scale)]
        candidates.append([face.scaled(1 / scale) for face in faces])
        if options.face == SPEAKING:
            mouths.append({face.box.scaled(1 / scale): see_mouth(picture, face) for face in faces})
        else:  # much smaller faces are other people's
            side = max((face.box.side for face in candidates[-1]), default=side)
    seconds = np.array([clock[stamp] for stamp in scales])
    order = np.argsort(seconds, kind="stable")  # in which the pictures of odd files are not read
    candidates, mouths = [candidates[n] for n in order], [mouths[n] for n in order] if mouths else []
    tracks = _choose_tracks(candidates, mouths, seconds[order] - timeline.since, remarks, hear)
    numbers = (company.numbers(tracks, seconds[order]) if company else []) or [0]
    tracks = tracks if company else tracks[:1]
    pictures: Iterable[tuple[int, np.ndarray]] = kept
    if size > MOST_KEPT:
        pictures = read_pictures(path, np.array(list(scales), np.int64), [], timeline.joined)
    visions = _cut_faces(pictures, options, tracks, scales, seconds, order)
    if len(seconds) and not tracks:
        centred = options.no_face == "centre"
        remarks.append(Remark(CENTRED if centred else NO_FACE, f"{len(seconds)} pictures"))
        visions[0].found[:] = centred
        return visions
    return [vision._replace(person=number) for vision, number in zip(visions, numbers, strict=True)]


def _cut_faces(
    pictures: Iterable[tuple[int, np.ndarray]],
    options: ClipOptions,
    tracks: Sequence[Track],
    scales: Mapping[int, float],
    seconds: np.ndarray,
    order: np.ndarray,
) -> list[Vision]:
    """The vision of each track, or of the middle of the pictures if there is none.

    Args:
        pictures: timestamps and pictures, in the order of the decoder.
        options: how they are read.
        tracks: the faces of each person, in shares of the pictures' longer sides, by the rank of their picture in time.
        scales: the longer side of each picture in pixels, by its timestamp, in the same order.
        seconds: float [N], the times of the pictures in this order.
        order: int [N], this order by time.
    """
    aligned, count = options.align == LANDMARKS, len(scales)
    persons = tracks or [{}]
    placed: list[Sequence[Box | Square | None]] = [
        place_crops(track, seconds[order], aligned) if track else [None] * count for track in persons
    ]
    visions = [
        Vision([], seconds, np.zeros(count, bool), np.full((count, 5, 2), np.nan), np.full((count, 4), np.nan))
        for _ in placed
    ]
    ranks = np.argsort(order)
    for n, ((stamp, picture), rank) in enumerate(zip(pictures, ranks.tolist(), strict=True)):
        for vision, places, track in zip(visions, placed, persons, strict=True):
            relative = places[rank]
            place = relative and relative.scaled(scales[stamp])
            vision.faces.append(_jpeg(cut(picture, place, options.face_size, options.margin), options))
            if place and rank in track:
                vision.found[n] = True
                vision.landmarks[n] = _landmarks(track[rank].scaled(scales[stamp]), place, options.margin)
                vision.places[n] = relative if isinstance(relative, Square) else (*relative.centre, relative.side, 0.0)
    return visions


def read_face_images(folder: Path, options: ClipOptions, remarks: list[Remark]) -> Vision:
    """Reads the images `folder/<n>.jpg` in the order of n; image n is at (n - first n) / 25 seconds.

    Images are kept as they are. A detector with landmarks finds those of the largest face in them.
    """
    numbered = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.stem.isdecimal()]
    paths = sorted(numbered, key=lambda path: (int(path.stem), path.name))
    numbers = np.array([int(path.stem) for path in paths], np.float64)
    seconds = (numbers - numbers[:1].sum()) / IMAGES_PER_SECOND
    if (seconds >= options.max_seconds).any():
        last = f"{seconds[-1] + 1 / IMAGES_PER_SECOND:.1f}"
        remarks.append(Remark(LONG, f"{folder.name}/: face images of {last} s, read to {options.max_seconds:g} s"))
        seconds = seconds[seconds < options.max_seconds]
    picks = pick_evenly(seconds, options.max_frames)
    if len(picks) < len(seconds):
        remarks.append(Remark(MANY_IMAGES, f"{len(seconds)} given, {len(picks)} kept"))
    find = None if options.detector == HAAR else _detector(options)  # the cascades find no landmarks
    faces, times, landmarks = [], [], []
    for index in picks:
        image = _read_image(paths[index])
        if image is None:
            remarks.append(Remark(BAD_IMAGE, f"{folder.name}/{paths[index].name}"))
            continue
        faces.append(_jpeg(cut(image, None, options.face_size, 0.0), options))
        times.append(seconds[index])
        shown = [as_face(face) for face in find(image)] if find else []
        largest = max(shown, key=lambda face: face.box.side, default=None)
        landmarks.append(_landmarks(largest, centre_of(image), 0.0) if largest else UNKNOWN)
    found, places = np.ones(len(faces), bool), np.full((len(faces), 4), np.nan)
    return Vision(faces, np.array(times), found, np.array(landmarks).reshape(-1, 5, 2), places)


def in_order(vision: Vision) -> Vision:
    """The same vision by ascending time; the pictures of odd files are read in another order."""
    order = np.argsort(vision.times, kind="stable")
    faces = [vision.faces[number] for number in order]
    arrays = {name: getattr(vision, name)[order] for name in ("times", "found", "landmarks", "places")}
    return vision._replace(faces=faces, **arrays)


def pick_evenly(seconds: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most `most` pictures, spread evenly in time (not by index), for ascending times [N] in seconds."""
    if len(seconds) <= most:
        return np.arange(len(seconds))
    targets = np.linspace(seconds[0], seconds[-1], most)
    after = np.clip(np.searchsorted(seconds, targets), 1, len(seconds) - 1)
    nearer_before = targets - seconds[after - 1] < seconds[after] - targets
    return np.unique(after - nearer_before)


def _detector(options: ClipOptions) -> Detector:
    return load_detector(options.detector, options.detector_path, options.detector_model)


def _choose_tracks(
    candidates: Sequence[Sequence[Face]],
    mouths: Sequence[Mapping[Box, np.ndarray]],
    seconds: np.ndarray,
    remarks: list[Remark],
    hear: Callable[[], np.ndarray],
) -> list[Track]:
    """The faces of each person. The first is read: the speaker if there are pictures of mouths, else the largest."""
    persons = people(find_tracks(candidates, seconds), len(seconds))
    if len(persons) < 2:
        return persons
    chosen, why = 0, "the largest"
    if mouths:
        watched = [{n: mouths[n][face.box] for n, face in track.items()} for track in persons]
        sound = hear()
        speaker = find_speaker(watched, seconds, sound) if len(sound) else None
        reason = "no mouth follows the sound" if len(sound) else "there is no sound"
        chosen, why = (0, f"{why}, since {reason},") if speaker is None else (speaker, "the one who speaks")
    share = len(persons[chosen]) / len(seconds)
    remarks.append(Remark(PEOPLE, f"{len(persons)} people; {why} is read, seen in {share:.0%} of the pictures"))
    return [persons[chosen], *persons[:chosen], *persons[chosen + 1 :]]


def _landmarks(face: Face, place: Box | Square, margin: float) -> np.ndarray:
    """The landmarks of a face float [5, 2] in shares of the side of its crop; NaN if it has none."""
    return UNKNOWN if face.landmarks is None else landmarks_in_crop(face.landmarks, place, margin)


def _read_image(path: Path) -> np.ndarray | None:
    """Reads uint8 [height, width, 3] RGB; None if it is not an image, or its header claims more than MOST_PIXELS."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as header:  # reads only the header
            width, height = header.size
        if width * height > MOST_PIXELS:
            return None
        return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, cv2.error):
        return None


def _jpeg(picture: np.ndarray, options: ClipOptions) -> bytes:
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, options.jpeg_quality]
    )
    return data.tobytes()
