"""YuNet (Wu et al., 2023, doi:10.1007/s11633-023-1423-y): finds faces with five landmarks, through OpenCV.

The model is a file of 230 kB: the one in the Hugging Face hub's repository of OpenCV, at a pinned revision, or another
one that the user names.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data_prep.clips.faces import Box, Detector, Face
from data_prep.errors import CorpusError

REPOSITORY = "opencv/face_detection_yunet"
FILE = "face_detection_yunet_2023mar.onnx"
REVISION = "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
"""The hash of FILE, which is also its Git LFS object id in github.com/opencv/opencv_zoo."""

COARSE, COARSER, FINE = 320, 160, 640
"""Pixels on the longer side of the reduced copies that are searched, the next one where the last one shows no face.
YuNet finds faces of about 10 to 300 pixels: close-ups only in a smaller copy, distant faces only in a larger one."""

SURELY_FOUND = 20
"""Side in pixels of faces that the coarse copy shows: where only larger ones matter, the fine copy is not searched."""

LEAST_SCORE, MOST_OVERLAP = 0.6, 0.3
"""OpenCV's defaults: faces with a lower score are dropped, and of overlapping ones all but the best."""


class Model(NamedTuple):
    """The content of a model file, and its SHA-256 in hexadecimal digits."""

    data: bytes
    sha256: str


def read_model(path: str = "", sha256: str = "") -> Model:
    """Reads the model file.

    Args:
        path: the file; "" for the hub's, which is downloaded if it is not in the hub's cache.
        sha256: the hash that a given file must have; "" for any.

    Raises:
        CorpusError: there is no such file, it cannot be downloaded, or it has another hash.
    """
    sha256 = sha256 if path else SHA256
    file = Path(path).expanduser() if path else _from_hub()
    try:
        data = file.read_bytes()
    except OSError as error:
        raise CorpusError(f"--detector-model={path}: {error.strerror}; expected {FILE}, {_ways()}") from error
    found = hashlib.sha256(data).hexdigest()
    if sha256 and found != sha256:
        raise CorpusError(
            f"{file}: found a file with SHA-256 {found}, expected {sha256}: "
            + (
                "name the file that the run's clips were read with"
                if path
                else f"delete it to download it again, {_ways()}"
            )
        )
    return Model(data, found)


def yunet(model: Model) -> Detector:
    """A detector that searches a copy with 320 pixels on the longer side, then others where that shows no face.

    Raises:
        CorpusError: the file is not a model that OpenCV can use to detect faces.
    """
    try:
        data = np.frombuffer(model.data, np.uint8)
        net = cv2.FaceDetectorYN.create("onnx", data, np.zeros(0, np.uint8), (32, 32), LEAST_SCORE, MOST_OVERLAP)
        net.detect(np.zeros((32, 32, 3), np.uint8))
    except cv2.error as error:
        raise CorpusError(
            f"--detector-model: OpenCV cannot detect faces with this file (SHA-256 {model.sha256}); expected {FILE}, "
            f"{_ways()}"
        ) from error

    def find(picture: np.ndarray, at_least: float = 0.0, /) -> list[Face]:
        for scale in _scales(picture, at_least):
            image = picture
            if scale < 1:
                image = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            net.setInputSize((image.shape[1], image.shape[0]))
            _, rows = net.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
            if rows is not None:
                return [_face(row / scale, float(row[14])) for row in rows.astype(np.float64)]
        return []

    return find


def _scales(picture: np.ndarray, at_least: float) -> Iterator[float]:
    """The factors by which a picture is reduced, in the order in which its copies are searched."""
    longer, shorter = max(picture.shape[:2]), min(picture.shape[:2])
    coarse = min(1.0, COARSE / longer)
    scales = [coarse, min(1.0, COARSER / longer)]
    if at_least * coarse < SURELY_FOUND:
        scales.append(min(1.0, FINE / longer))
    for scale in dict.fromkeys(scales):
        if round(scale * shorter) >= 1:  # else it is a strip so thin that reducing it would leave no pixels
            yield scale


def _face(row: np.ndarray, score: float) -> Face:
    """A row of OpenCV's result: left, top, width and height, then x and y of each landmark."""
    left, top, width, height = row[:4].tolist()
    side = max(width, height)
    return Face(Box(left + (width - side) / 2, top + (height - side) / 2, side), row[4:14].reshape(5, 2), score)


def _from_hub() -> Path:
    from huggingface_hub import hf_hub_download  # slow to import, and workers with --detector=haar do without it

    try:
        return Path(hf_hub_download(REPOSITORY, FILE, revision=REVISION))
    except Exception as error:  # the hub's client raises errors of its own, of its HTTP library and of the disk
        raise CorpusError(
            f"--detector=yunet: no model from the Hugging Face hub ({type(error).__name__}); {_ways()}"
        ) from error


def _ways() -> str:
    fetch = f"hf download {REPOSITORY} {FILE} --revision {REVISION} --local-dir ."
    return (
        f"give the file with --detector-model=PATH ({fetch} fetches it where the hub can be reached), or choose "
        "--detector=haar, which needs no file"
    )
