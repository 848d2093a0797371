"""Cuts faces out of pictures: squares around a box as they are, and squares that turn with the face."""

import math

import cv2
import numpy as np

from data_prep.clips.alignment import Square
from data_prep.clips.faces import Box


def cut(picture: np.ndarray, place: Box | Square | None, size: int, margin: float) -> np.ndarray:
    """Cuts out a face.

    Args:
        picture: uint8 [height, width, 3].
        place: where the face is; None for the largest centred square of the picture, without a margin.
        size: side of the result, in pixels.
        margin: margin added on every side, as a share of the face's side.

    Returns:
        uint8 [size, size, 3]; outside the picture, its edge pixels are repeated.
    """
    if isinstance(place, Square):
        return _cut_turned(picture, place, size, margin)
    if place is None:
        place, margin = centre_of(picture), 0.0
    return _cut_straight(picture, place, size, margin)


def centre_of(picture: np.ndarray) -> Box:
    """The largest centred square of a picture."""
    height, width = picture.shape[:2]
    side = min(height, width)
    return Box((width - side) / 2, (height - side) / 2, side)


def landmarks_in_crop(landmarks: np.ndarray, place: Box | Square, margin: float) -> np.ndarray:
    """Landmarks float [5, 2] in shares of the side of the crop that `cut` makes, from pixels of the picture."""
    if isinstance(place, Square):
        transform = place.to_crop(margin)
        return landmarks @ transform[:, :2].T + transform[:, 2]
    left, top, side = _window(place, margin)
    return (landmarks - (left, top)) / side


def _cut_straight(picture: np.ndarray, box: Box, size: int, margin: float) -> np.ndarray:
    height, width = picture.shape[:2]
    left, top, side = _window(box, margin)
    pad = max(0, -left, -top, left + side - width, top + side - height)
    if pad:
        picture = cv2.copyMakeBorder(picture, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    piece = picture[top + pad : top + pad + side, left + pad : left + pad + side]
    return cv2.resize(piece, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)


def _window(box: Box, margin: float) -> tuple[int, int, int]:
    """Left, top and side in whole pixels of the square that is cut out."""
    half = box.side * (0.5 + margin)
    x, y = box.centre
    return round(x - half), round(y - half), max(2, round(2 * half))


def _cut_turned(picture: np.ndarray, square: Square, size: int, margin: float) -> np.ndarray:
    transform = square.to_crop(margin)
    scale = min(1.0, size * math.hypot(*transform[:, 0]))
    left, top, right, bottom = _surroundings(transform, picture.shape, 2 / scale)
    piece = picture[top:bottom, left:right]
    if scale < 1:  # a warp reads few pixels, so the picture is reduced first, by means over areas
        width, height = (max(1, round(scale * side)) for side in (right - left, bottom - top))
        piece = cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA)
    # From pixels of the piece to those of the crop: OpenCV counts from the centre of a pixel, transforms from its edge.
    turn = size * transform[:, :2] @ np.diag([(right - left) / piece.shape[1], (bottom - top) / piece.shape[0]])
    shift = size * (transform[:, :2] @ (left, top) + transform[:, 2])
    matrix = np.column_stack([turn, shift + turn @ (0.5, 0.5) - 0.5])
    return cv2.warpAffine(piece, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _surroundings(transform: np.ndarray, shape: tuple[int, ...], spare: float) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the part of a picture that a crop shows and `spare` pixels more; not empty."""
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) - transform[:, 2]
    places = np.linalg.solve(transform[:, :2], corners.T)
    low, high = np.floor(places.min(1) - spare), np.ceil(places.max(1) + spare)
    left, right = np.clip((low[0], high[0]), (0, 1), (shape[1] - 1, shape[1])).astype(int).tolist()
    top, bottom = np.clip((low[1], high[1]), (0, 1), (shape[0] - 1, shape[0])).astype(int).tolist()
    return left, top, right, bottom
