"""How a stored picture is displayed: rotated and mirrored by its display matrix, with square pixels."""

import av
import numpy as np
from av.sidedata.sidedata import Type

from data_prep.media.container import MOST_PIXELS

MOST_STRETCH = 5
"""Pixel aspect ratios above this, or below its inverse, are considered wrong; such pixels count as square."""


def shown_size(width: int, height: int, aspect: float) -> tuple[int, int]:
    """Width and height with square pixels; enlarges one side and never shrinks the other, so that no detail is lost.

    Args:
        width: stored pixels in a row.
        height: stored rows.
        aspect: width of a pixel over its height; 0 where unknown.
    """
    if aspect == 1 or not 1 / MOST_STRETCH <= aspect <= MOST_STRETCH:
        return width, height
    size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
    return size if size[0] * size[1] <= MOST_PIXELS else (width, height)


def display_matrix(frame: av.VideoFrame) -> np.ndarray | None:
    """The linear part of a frame's display matrix, [2, 2], if any: stored point (x, y) is shown at (x, y) @ matrix."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    return None if data is None else np.frombuffer(bytes(data), np.int32)[[0, 1, 3, 4]].reshape(2, 2) / (1 << 16)


def set_upright(picture: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    """Applies a display matrix [2, 2] to a picture [H, W, 3]: mirroring and the nearest multiple of 90 degrees."""
    if matrix is None:
        return picture
    (a, b), (c, d) = matrix
    if abs(a) + abs(d) < abs(b) + abs(c):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    if a < 0:
        picture = picture[:, ::-1]
    if d < 0:
        picture = picture[::-1]
    return np.ascontiguousarray(picture)
