"""The vision of a clip: face crops from a video, or the images in a folder of face images."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from data_prep.clips.detectors import load_detector
from data_prep.clips.faces import SHRINKING, Box, crop, track
from data_prep.clips.options import ClipOptions
from data_prep.media.container import MOST_PIXELS
from data_prep.media.pictures import read_pictures
from data_prep.media.remarks import BAD_IMAGE, CENTRED, LONG, MANY_IMAGES, NO_FACE, Remark
from data_prep.media.timeline import Timeline

IMAGES_PER_SECOND = 25.0
"""Images per second in a folder of face images, which are numbered like the video's pictures."""
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


class Vision(NamedTuple):
    """Face crops [N] as JPEG, their times and what was found in them.

    Attributes:
        faces: the crops.
        times: float64 [N], in seconds.
        found: bool [N], whether each counts as a face.
        landmarks: float64 [N, 5, 2] in shares of the crop's side, NaN where unknown; see `data_prep.build.dataset`.
    """

    faces: list[bytes]
    times: np.ndarray
    found: np.ndarray
    landmarks: np.ndarray


NOTHING = Vision([], np.zeros(0), np.zeros(0, bool), np.zeros((0, 5, 2)))


def read_video_faces(path: Path, timeline: Timeline, options: ClipOptions, remarks: list[Remark]) -> Vision:
    """Detects, tracks and crops the face in a video. Decodes it twice, so that its pictures need not be kept in memory.

    Raises:
        ClipError: the file is missing or not a media file.
    """
    picks = pick_evenly(timeline.seconds, options.max_frames)
    stamps = timeline.stamps[picks]
    clock = dict(zip(stamps.tolist(), timeline.seconds[picks].tolist(), strict=True))
    scales: dict[int, float] = {}  # boxes are tracked as shares of the longer side, since the size may change midway
    candidates: list[list[Box]] = []
    side, find = 0.0, load_detector(options.detector)
    for stamp, picture in read_pictures(path, stamps, remarks, timeline.joined):
        scale = scales[stamp] = float(max(picture.shape))
        candidates.append([box.scaled(1 / scale) for box in find(picture, SHRINKING * side * scale)])
        side = max((box.side for box in candidates[-1]), default=side)
    boxes, found = track(candidates)
    places: Sequence[Box | None] = boxes or [None] * len(found)
    pictures = read_pictures(path, np.array(list(scales), np.int64), [], timeline.joined)
    crops = [
        _jpeg(crop(picture, box and box.scaled(scales[stamp]), options.face_size, options.margin), options)
        for (stamp, picture), box in zip(pictures, places, strict=True)
    ]
    if crops and not found.any():
        centred = options.no_face == "centre"
        remarks.append(Remark(CENTRED if centred else NO_FACE, f"{len(crops)} pictures"))
        found[:] = centred
    return Vision(crops, np.array([clock[stamp] for stamp in scales]), found, np.full((len(crops), 5, 2), np.nan))


def read_face_images(folder: Path, options: ClipOptions, remarks: list[Remark]) -> Vision:
    """Reads the images `folder/<n>.jpg` in the order of n; image n is at (n - first n) / 25 seconds."""
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
    faces, times = [], []
    for index in picks:
        image = _read_image(paths[index])
        if image is None:
            remarks.append(Remark(BAD_IMAGE, f"{folder.name}/{paths[index].name}"))
            continue
        faces.append(_jpeg(crop(image, None, options.face_size, 0.0), options))
        times.append(seconds[index])
    return Vision(faces, np.array(times), np.ones(len(faces), bool), np.full((len(faces), 5, 2), np.nan))


def in_order(vision: Vision) -> Vision:
    """The same vision by ascending time; the pictures of odd files are read in another order."""
    order = np.argsort(vision.times, kind="stable")
    faces = [vision.faces[number] for number in order]
    return Vision(faces, vision.times[order], vision.found[order], vision.landmarks[order])


def pick_evenly(seconds: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most `most` pictures, spread evenly in time (not by index), for ascending times [N] in seconds."""
    if len(seconds) <= most:
        return np.arange(len(seconds))
    targets = np.linspace(seconds[0], seconds[-1], most)
    after = np.clip(np.searchsorted(seconds, targets), 1, len(seconds) - 1)
    nearer_before = targets - seconds[after - 1] < seconds[after] - targets
    return np.unique(after - nearer_before)


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
