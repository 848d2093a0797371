"""Antialiased shapes on a small picture, placed by their offset in pixels from its centre."""

from collections.abc import Sequence

import cv2
import numpy as np

SIZE = 160  # pixels, width and height
CENTRE = (80, 82)
_SHIFT = 4  # OpenCV's fixed-point bits: sub-pixel drawing, so that small motions are smooth
_SCALE = 1 << _SHIFT

Colour = Sequence[float]


def points(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Offsets [..., N] from the centre in OpenCV's fixed-point coordinates, int32 [..., N, 2]."""
    return ((np.stack([xs, ys], axis=-1) + CENTRE) * _SCALE).round().astype(np.int32)


def ellipse(image: np.ndarray, x: float, y: float, axes: tuple[float, float], colour: Colour, angle: float = 0) -> None:
    """Fills an ellipse with the given half axes in pixels and angle in degrees."""
    centre = round((CENTRE[0] + x) * _SCALE), round((CENTRE[1] + y) * _SCALE)
    size = max(1, round(axes[0] * _SCALE)), max(1, round(axes[1] * _SCALE))
    cv2.ellipse(image, centre, size, angle, 0, 360, colour, -1, cv2.LINE_AA, _SHIFT)


def shape(image: np.ndarray, corners: np.ndarray, colour: Colour) -> None:
    """Fills the polygon with the given corners, fixed-point [N, 2]."""
    cv2.fillPoly(image, [corners], colour, cv2.LINE_AA, _SHIFT)


def stroke(image: np.ndarray, line: np.ndarray, colour: Colour, thickness: float) -> None:
    """Draws a line through points, fixed-point [N, 2]."""
    cv2.polylines(image, [line], False, colour, max(1, round(thickness)), cv2.LINE_AA, _SHIFT)


def blob(x: float, y: float, width: float, height: float) -> np.ndarray:
    """A soft spot with its peak of 1 at (x, y) from the centre, float32 [SIZE, SIZE, 1]."""
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    spot = np.exp(-((column - CENTRE[0] - x) ** 2) / width**2 - (row - CENTRE[1] - y) ** 2 / height**2)
    return spot[..., None].astype(np.float32)
