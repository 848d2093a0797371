"""Antialiased shapes on a small picture, placed by their offset in pixels from its centre."""

import cv2
import numpy as np

SIZE = 160  # pixels, width and height
CENTRE = (80, 82)
_SHIFT = 4  # OpenCV's fixed-point bits: sub-pixel drawing, so that small motions are smooth


def _point(x: float, y: float) -> tuple[int, int]:
    scale = 1 << _SHIFT
    return round((CENTRE[0] + x) * scale), round((CENTRE[1] + y) * scale)


def _points(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Fixed-point int32 [N, 2] of offsets from the centre."""
    return ((np.stack([xs, ys], axis=1) + CENTRE) * (1 << _SHIFT)).round().astype(np.int32)


def ellipse(
    image: np.ndarray, x: float, y: float, axes: tuple[float, float], colour: np.ndarray, angle: float = 0
) -> None:
    """Fills an ellipse with the given half axes in pixels and angle in degrees."""
    size = tuple(max(1, round(a * (1 << _SHIFT))) for a in axes)
    cv2.ellipse(image, _point(x, y), size, angle, 0, 360, colour.tolist(), -1, cv2.LINE_AA, _SHIFT)


def shape(image: np.ndarray, xs: np.ndarray, ys: np.ndarray, colour: np.ndarray) -> None:
    """Fills the polygon through the points (xs, ys)."""
    cv2.fillPoly(image, [_points(xs, ys)], colour.tolist(), cv2.LINE_AA, _SHIFT)


def stroke(image: np.ndarray, xs: np.ndarray, ys: np.ndarray, colour: np.ndarray, thickness: float) -> None:
    """Draws a line through the points (xs, ys)."""
    cv2.polylines(image, [_points(xs, ys)], False, colour.tolist(), max(1, round(thickness)), cv2.LINE_AA, _SHIFT)


def blob(x: float, y: float, width: float, height: float) -> np.ndarray:
    """A soft spot with its peak of 1 at (x, y) from the centre, float32 [SIZE, SIZE, 1]."""
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    spot = np.exp(-((column - CENTRE[0] - x) ** 2) / width**2 - (row - CENTRE[1] - y) ** 2 / height**2)
    return spot[..., None].astype(np.float32)
