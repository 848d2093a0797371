"""The face detectors: built-in ones, and those of users.

`--detector` names a built-in detector, or MODULE:FUNCTION: a function that returns a detector, as described in
`data_prep.clips.faces.Detector`. It is called once in each worker process, where it can load a model.
"""

import functools
from pathlib import Path

import cv2
import numpy as np

from data_prep.clips.faces import Box, Detector
from data_prep.clips.plugins import load_function
from data_prep.clips.yunet import read_model, yunet
from data_prep.errors import CorpusError

YUNET, HAAR = "yunet", "haar"
CASCADES = Path(cv2.__file__).parent / "data"
DETECTION_SIDE = 320
"""Pixels on the longer side of the reduced copy that the cascades search."""
SMALLEST = 1 / 6
"""Share of the picture's shorter side below which the cascades take a face for background."""


@functools.cache
def load_detector(name: str, model: str = "", sha256: str = "") -> Detector:
    """Loads a detector once per process: a built-in one, or the one that the function `MODULE:FUNCTION` returns.

    Args:
        name: the detector.
        model: YuNet's model file; "" for the one on the Hugging Face hub.
        sha256: the hash that this file must have; "" for any.

    Raises:
        CorpusError: there is no such detector or function, or the model file is missing or unusable.
    """
    if name == YUNET:
        return yunet(read_model(model, sha256))
    if name == HAAR:
        return haar()
    if ":" not in name:
        raise CorpusError(f"--detector={name}: no such detector, expected {YUNET}, {HAAR} or MODULE:FUNCTION")
    return load_function(name, "--detector")()


def haar() -> Detector:
    """OpenCV's Haar cascades, which ship with the package: frontal faces, or profiles if no frontal face is found."""
    names = ("frontalface_alt2", "frontalface_default", "profileface")
    frontal, fallback, profile = (cv2.CascadeClassifier(f"{CASCADES}/haarcascade_{name}.xml") for name in names)

    def find(picture: np.ndarray, at_least: float = 0.0, /) -> list[Box]:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        scale = min(1.0, DETECTION_SIDE / max(grey.shape))
        if scale * min(grey.shape) < 1:
            return []  # a strip so thin that resizing it would leave no pixels
        if scale < 1:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        least = max(24, round(SMALLEST * min(grey.shape)), round(at_least * scale))
        for cascade in (frontal, fallback, profile):
            if len(boxes := cascade.detectMultiScale(grey, 1.1, 4, minSize=(least, least))):
                return [Box(x / scale, y / scale, side / scale) for x, y, side, _ in np.asarray(boxes).tolist()]
        flipped = profile.detectMultiScale(cv2.flip(grey, 1), 1.1, 4, minSize=(least, least))
        width = grey.shape[1]
        return [
            Box((width - x - side) / scale, y / scale, side / scale) for x, y, side, _ in np.asarray(flipped).tolist()
        ]

    return find
