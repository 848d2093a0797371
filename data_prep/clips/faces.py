"""Tracks the largest face through a clip and crops it. `data_prep.clips.detectors` finds the faces."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

SHRINKING = 0.5  # a box smaller than this share of the previous face is another face


class Box(NamedTuple):
    """A square around a face: left, top and side, in pixels of the full picture."""

    x: float
    y: float
    side: float

    def scaled(self, factor: float) -> "Box":
        """The same square with its coordinates multiplied by a factor."""
        return Box(self.x * factor, self.y * factor, self.side * factor)


def track(candidates: Sequence[Sequence[Box]]) -> tuple[list[Box], np.ndarray]:
    """Tracks the largest face of a clip forwards and backwards in time.

    Args:
        candidates: the boxes found in each picture.

    Returns:
        A box for each picture, and bool [N], whether the face was found in it. Where it was not, the box is that of the
        nearest earlier picture with the face, else of the nearest later one. If no picture has a face, there are no
        boxes.
    """
    found = np.zeros(len(candidates), bool)
    sizes = [max((box.side for box in options), default=0.0) for options in candidates]
    if not any(sizes):
        return [], found
    seed = int(np.argmax(sizes))
    boxes: dict[int, Box] = {}
    for order in (range(seed, len(candidates)), range(seed, -1, -1)):
        last = max(candidates[seed], key=lambda box: box.side)
        for n in order:
            follower = _follow(last, candidates[n])
            if follower is not None:
                boxes[n] = last = follower
    found[list(boxes)] = True
    return _fill(_steady(boxes), len(candidates)), found


def crop(picture: np.ndarray, box: Box | None, size: int, margin: float) -> np.ndarray:
    """Crops a face.

    Args:
        picture: uint8 [height, width, 3].
        box: the face; None for the largest centred square of the picture.
        size: side of the result, in pixels.
        margin: margin added on every side, as a share of the box's side.

    Returns:
        uint8 [size, size, 3]; outside the picture, its edge pixels are repeated.
    """
    height, width = picture.shape[:2]
    if box is None:
        side = min(height, width)
        box, margin = Box((width - side) / 2, (height - side) / 2, side), 0.0
    half = box.side * (0.5 + margin)
    x, y = box.x + box.side / 2, box.y + box.side / 2
    left, top, side = round(x - half), round(y - half), max(2, round(2 * half))
    pad = max(0, -left, -top, left + side - width, top + side - height)
    if pad:
        picture = cv2.copyMakeBorder(picture, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    piece = picture[top + pad : top + pad + side, left + pad : left + pad + side]
    return cv2.resize(piece, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)


def _follow(last: Box, options: Sequence[Box]) -> Box | None:
    """The box that most likely shows the face last seen at `last`, by overlap and size; None if all are too small."""
    likely = [box for box in options if box.side > SHRINKING * last.side]
    return max(likely, key=lambda box: _overlap(last, box) + min(1.0, box.side / last.side), default=None)


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    wide = max(0.0, min(a.x + a.side, b.x + b.side) - max(a.x, b.x))
    tall = max(0.0, min(a.y + a.side, b.y + b.side) - max(a.y, b.y))
    return wide * tall / (a.side**2 + b.side**2 - wide * tall)


def _steady(boxes: dict[int, Box]) -> dict[int, Box]:
    """Smooths the sizes, which cascades quantise coarsely, and keeps the centres."""
    steadied = {}
    for n, box in boxes.items():
        side = float(np.mean([boxes[k].side for k in range(n - 2, n + 3) if k in boxes]))
        shift = (box.side - side) / 2
        steadied[n] = Box(box.x + shift, box.y + shift, side)
    return steadied


def _fill(boxes: dict[int, Box], count: int) -> list[Box]:
    last = boxes[min(boxes)]
    filled = []
    for n in range(count):
        last = boxes.get(n, last)
        filled.append(last)
    return filled
