"""What a face detector finds in a picture."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np


class Box(NamedTuple):
    """A square around a face: left, top and side, in pixels of the full picture. It may reach beyond the picture."""

    x: float
    y: float
    side: float

    @property
    def centre(self) -> tuple[float, float]:
        """The centre's x and y."""
        return self.x + self.side / 2, self.y + self.side / 2

    def scaled(self, factor: float) -> "Box":
        """The same square with its coordinates multiplied by a factor."""
        return Box(self.x * factor, self.y * factor, self.side * factor)

    def holds_centre_of(self, other: "Box") -> bool:
        """Whether the centre of another box lies inside this one."""
        x, y = other.centre
        return self.x < x < self.x + self.side and self.y < y < self.y + self.side


class Face(NamedTuple):
    """A face in a picture.

    Attributes:
        box: a square around it.
        landmarks: float [5, 2], x and y in pixels of the full picture: the person's right eye, left eye, tip of the
            nose, right and left corner of the mouth; None if the detector finds none.
        score: the detector's confidence, from 0 to 1.
    """

    box: Box
    landmarks: np.ndarray | None = None
    score: float = 1.0

    def scaled(self, factor: float) -> "Face":
        """The same face with its coordinates multiplied by a factor."""
        landmarks = None if self.landmarks is None else self.landmarks * factor
        return Face(self.box.scaled(factor), landmarks, self.score)


class Detector(Protocol):
    """Finds all faces in a picture."""

    def __call__(self, picture: np.ndarray, at_least: float = 0.0, /) -> Sequence[Face | Box]:
        """The faces, in any order; a plain box is a face without landmarks.

        Args:
            picture: uint8 [height, width, 3] RGB, which must not be changed: crops are cut out of it.
            at_least: side in pixels below which a face need not be found; small faces take the most time to find.
        """


def as_face(found: Face | Box) -> Face:
    """The face that a detector found, whether it returned a face or a plain box."""
    if not isinstance(found, Face):
        return Face(Box(*found))
    landmarks = None if found.landmarks is None else np.asarray(found.landmarks, np.float64)
    return Face(Box(*found.box), landmarks, found.score)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    wide = max(0.0, min(a.x + a.side, b.x + b.side) - max(a.x, b.x))
    tall = max(0.0, min(a.y + a.side, b.y + b.side) - max(a.y, b.y))
    return wide * tall / (a.side**2 + b.side**2 - wide * tall)
