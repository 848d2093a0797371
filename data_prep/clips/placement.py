"""Where a person's face is cut out of each picture of a clip."""

from collections.abc import Mapping

import numpy as np

from data_prep.clips.alignment import Square, align, smooth
from data_prep.clips.faces import Box
from data_prep.clips.tracks import Track


def place_crops(track: Track, seconds: np.ndarray, aligned: bool) -> list[Box | Square]:
    """Places the crops of a person's face, steadily over time.

    Args:
        track: the faces, at least one.
        seconds: float [N], the times of all pictures.
        aligned: whether crops turn with the face, where it has landmarks.

    Returns:
        A place for each picture. Where the face was not found, it is that of the nearest earlier picture with the face,
        else of the first one.
    """
    boxes: dict[int, Box] = {}
    squares: dict[int, Square] = {}
    for n, face in track.items():
        square = None if face.landmarks is None or not aligned else align(face.landmarks)
        if square is None:
            boxes[n] = face.box
        else:
            squares[n] = square
    places: dict[int, Box | Square] = {**_steady(boxes), **smooth(squares, seconds)}
    last = places[min(places)]
    filled = []
    for n in range(len(seconds)):
        last = places.get(n, last)
        filled.append(last)
    return filled


def _steady(boxes: Mapping[int, Box]) -> dict[int, Box]:
    """Smooths the sizes, which cascades quantise coarsely, over five pictures, and keeps the centres."""
    steadied = {}
    for n, box in boxes.items():
        side = float(np.mean([boxes[k].side for k in range(n - 2, n + 3) if k in boxes]))
        shift = (box.side - side) / 2
        steadied[n] = Box(box.x + shift, box.y + shift, side)
    return steadied
