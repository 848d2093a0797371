"""Descriptors of the face: histograms of oriented gradients of its crop, and the geometry of five landmarks."""

import dataclasses
from typing import ClassVar

import cv2
import numpy as np

from emi_jax.descriptors.config import DescriptorsConfig

GEOMETRY = (
    *("nose_x", "nose_y", "right_mouth_x", "right_mouth_y", "left_mouth_x", "left_mouth_y"),
    *("mouth_width", "mouth_tilt", "eyes_to_mouth", "nose_to_mouth", "eye_distance", "roll_sine", "roll_cosine"),
    "known",
)
"""Columns of `landmark_geometry`."""
RIGHT_EYE, LEFT_EYE, NOSE, RIGHT_MOUTH, LEFT_MOUTH = range(5)
SMALLEST_EYE_DISTANCE = 1e-3
"""In shares of the crop: eyes that coincide give neither scale nor angle."""


@dataclasses.dataclass(frozen=True)
class FaceDescriptorsConfig(DescriptorsConfig):
    """Which descriptors of the face are computed, and how.

    Attributes:
        image_size: crops are resized to squares of that many pixels and turned grey.
        equalize: equalise the histogram of each crop, which takes most of the lighting away.
        cell: pixels of the side of a square cell, which holds one histogram of the gradients' directions.
        block: cells of the side of a block, over which histograms are normalised together.
        bins: directions of a histogram, without sign.
        landmarks: add the geometry of the landmarks.

    Raises:
        ValueError: a field is of another type or out of range.
    """

    model_type: ClassVar[str] = "face_descriptors"
    image_size: int = 128
    equalize: bool = True
    cell: int = 16
    block: int = 2
    bins: int = 9
    landmarks: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("cell", 2 <= self.cell <= 128, "2 to 128 pixels")
        whole = self.image_size % self.cell == 0 and 0 < self.image_size <= 512
        self.require("image_size", whole, f"a multiple of cell = {self.cell} and at most 512")
        most = self.image_size // self.cell
        self.require("block", 1 <= self.block <= most, f"1 to {most} cells, those along a side of the crop")
        self.require("bins", 2 <= self.bins <= 36, "2 to 36")

    @property
    def hog_size(self) -> int:
        """Number of columns of the histograms: blocks a cell apart, of block x block cells of `bins`."""
        blocks = self.image_size // self.cell - self.block + 1
        return blocks**2 * self.block**2 * self.bins

    @property
    def hidden_size(self) -> int:
        """Number of columns, D: the histograms, then the geometry."""
        return self.hog_size + len(GEOMETRY) * self.landmarks


def describe_faces(config: FaceDescriptorsConfig, frames: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Computes descriptors of face crops: HOG (Dalal and Triggs, 2005; by OpenCV) and `landmark_geometry`.

    Args:
        config: which, and how.
        frames: uint8 [N, H, W, 3] RGB crops of any size.
        landmarks: float [N, 5, 2] as in `landmark_geometry`.

    Returns:
        float32 [N, D].

    Raises:
        ValueError: frames or landmarks of another type or shape.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape[1:]:
        raise ValueError(f"frames are {frames.dtype} {list(frames.shape)}; expected uint8 [N, H, W, 3]")
    if landmarks.shape != (len(frames), 5, 2):
        raise ValueError(f"landmarks are {list(landmarks.shape)}; expected [{len(frames)}, 5, 2], as many as frames")
    described = np.empty((len(frames), config.hidden_size), np.float32)
    size, cell, block = (config.image_size,) * 2, (config.cell,) * 2, (config.cell * config.block,) * 2
    hog = cv2.HOGDescriptor(size, block, cell, cell, config.bins)
    for row, frame in zip(described, frames, strict=True):
        grey = cv2.cvtColor(_resize(frame, config.image_size), cv2.COLOR_RGB2GRAY)
        row[: config.hog_size] = hog.compute(cv2.equalizeHist(grey) if config.equalize else grey)
    if config.landmarks:
        described[:, config.hog_size :] = landmark_geometry(landmarks)
    return described


def landmark_geometry(landmarks: np.ndarray) -> np.ndarray:
    """Computes the shape and the pose of faces from five landmarks.

    The first ten columns are in coordinates of the face: origin between the eyes, x towards the person's left eye, y
    downwards, unit the distance of the eyes. They do not change when the face is moved, scaled or rotated.

    Columns, as in `GEOMETRY`: positions of nose and mouth corners; width of the mouth and its angle to the line through
    the eyes (radians); distances of the middle of the mouth from the origin and from the nose; distance of the eyes in
    shares of the crop; sine and cosine of the angle of the eyes in the crop; 1 where the landmarks are known.

    Args:
        landmarks: float [N, 5, 2], x and y in shares of the crop's side, y downwards: the person's right eye, left eye,
            nose tip, right and left corner of the mouth. NaN where unknown.

    Returns:
        float32 [N, 14]; zeros in the rows of which a landmark is unknown or where the eyes coincide.
    """
    known = np.isfinite(landmarks).all(axis=(1, 2))
    x, y = np.where(known, landmarks.astype(np.float64).T, 0)
    points = (x + 1j * y).T
    between = points[:, LEFT_EYE] - points[:, RIGHT_EYE]
    known &= np.abs(between) > SMALLEST_EYE_DISTANCE
    geometry = np.zeros((len(landmarks), len(GEOMETRY)), np.float32)
    points, between = points[known], between[known]
    own = (points - points[:, [RIGHT_EYE, LEFT_EYE]].mean(axis=1, keepdims=True)) / between[:, None]
    mouth, middle = own[:, LEFT_MOUTH] - own[:, RIGHT_MOUTH], own[:, [RIGHT_MOUTH, LEFT_MOUTH]].mean(axis=1)
    places = [part(own[:, point]) for point in (NOSE, RIGHT_MOUTH, LEFT_MOUTH) for part in (np.real, np.imag)]
    shape = [np.abs(mouth), np.angle(mouth), np.abs(middle), np.abs(middle - own[:, NOSE])]
    distance = np.abs(between)
    pose = [distance, np.imag(between) / distance, np.real(between) / distance]
    geometry[known] = np.stack([*places, *shape, *pose, np.ones(len(points))], axis=1)
    return geometry


def _resize(frame: np.ndarray, size: int) -> np.ndarray:
    """Resizes a picture to a square, averaging pixels where it shrinks."""
    if frame.shape[:2] == (size, size):
        return frame
    shrinks = min(frame.shape[:2]) > size
    return cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
