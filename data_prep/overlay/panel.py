"""What is drawn into a clip: a panel of bars beside the picture, and the outline of the face in it."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageFont

LINE = 1.6
"""Height of a line of text in font sizes."""
SMALLEST, LARGEST = 10, 24
"""Sizes of the font in pixels."""
PAPER, INK, TRACK, BAR, WEIGHT, OUTLINE = (
    (18, 20, 24),
    (230, 237, 243),
    (52, 58, 66),
    (47, 129, 199),
    (224, 123, 31),
    (46, 220, 110),
)
"""Colours, RGB."""


@dataclasses.dataclass(frozen=True)
class Course:
    """What is drawn of a clip over time.

    Attributes:
        seconds: float [n], ascending: the middles of the windows; each holds for the pictures that are nearest to it.
        labels: K names.
        intensities: float [n, K], in the units of the labels.
        label_range: lowest and highest label.
        modalities: M names.
        weights: float [n, M], from 0 to 1.
        lacks: for each window what it lacks, in words.
        places: float [m, 5], ascending seconds and the face's square at each: x and y of its centre and its side in
            shares of the picture's longer side, and its angle in radians, clockwise; NaN where no face was found.
    """

    seconds: np.ndarray
    labels: Sequence[str]
    intensities: np.ndarray
    label_range: tuple[float, float]
    modalities: Sequence[str]
    weights: np.ndarray
    lacks: Sequence[Sequence[str]]
    places: np.ndarray

    @property
    def lines(self) -> int:
        """Lines of text in the panel."""
        return len(self.labels) + len(self.modalities) + 5


class Painter:
    """Draws a course into pictures of one size."""

    def __init__(self, course: Course, height: int):
        """Lays the panel out.

        Args:
            course: what is drawn.
            height: of the pictures, in pixels.
        """
        self._course, self._height = course, height
        size = min(LARGEST, max(SMALLEST, int(height / (course.lines * LINE))))
        fonts = Path(mpl.get_data_path(), "fonts", "ttf")
        self._font = ImageFont.truetype(str(fonts / "DejaVuSans.ttf"), size)
        self._line, self._edge = round(size * LINE), size
        named = max(self._font.getlength(name) for name in (*course.labels, *course.modalities))
        self._bar_at, self._bar = round(named) + 2 * self._edge, 8 * size
        self.width = self._bar_at + self._bar + 5 * size
        self.width += self.width % 2
        self._panel = functools.lru_cache(8)(self._draw_panel)

    def paint(self, picture: np.ndarray, second: float) -> np.ndarray:
        """The picture with the outline of the face, and the panel to its right.

        Args:
            picture: uint8 [height, width, 3] RGB.
            second: its time.
        """
        places = self._course.places
        if len(places):
            place = places[_nearest(places[:, 0], second), 1:]
            if np.isfinite(place).all():
                picture = _outlined(picture, place)
        return np.hstack([picture, self._panel(_nearest(self._course.seconds, second))])

    def _draw_panel(self, window: int) -> np.ndarray:
        """The panel of a window, uint8 [height, self.width, 3]."""
        course = self._course
        low, high = course.label_range
        image = Image.new("RGB", (self.width, self._height), PAPER)
        draw = ImageDraw.Draw(image)
        top = self._edge // 2
        sections = (
            ("intensity", course.labels, course.intensities[window], low, high, BAR),
            ("weight", course.modalities, course.weights[window], 0.0, 1.0, WEIGHT),
        )
        for title, names, values, lowest, highest, colour in sections:
            draw.text((self._edge, top), title, INK, self._font)
            top += self._line
            for name, value in zip(names, values.tolist(), strict=True):
                draw.text((self._edge, top), name, INK, self._font)
                left, right = self._bar_at, self._bar_at + self._bar
                bottom = top + round(0.75 * self._line)
                draw.rectangle((left, top + 2, right, bottom), TRACK)
                share = min(1.0, max(0.0, (value - lowest) / (highest - lowest)))
                draw.rectangle((left, top + 2, left + round(share * self._bar), bottom), colour)
                draw.text((right + self._edge // 2, top), f"{value:.2f}", INK, self._font)
                top += self._line
            top += self._line // 2
        draw.text((self._edge, top), ", ".join(course.lacks[window]), INK, self._font)
        return np.asarray(image)


def _outlined(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The picture with a square; `place` is x, y, side and angle as in `Course.places`."""
    scale = max(picture.shape[:2])
    x, y, side = place[:3] * scale
    cosine, sine = np.cos(place[3]), np.sin(place[3])
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * side / 2
    turned = corners @ np.array([[cosine, sine], [-sine, cosine]]) + (x, y)
    drawn = picture.copy()
    thickness = max(2, picture.shape[0] // 240)
    cv2.polylines(drawn, [np.rint(turned).astype(np.int32)], True, OUTLINE, thickness, cv2.LINE_AA)
    return drawn


def _nearest(times: np.ndarray, second: float) -> int:
    """The index of the nearest of ascending times."""
    after = int(np.clip(np.searchsorted(times, second), 1, max(1, len(times) - 1)))
    if len(times) == 1 or second - times[after - 1] <= times[after] - second:
        return after - 1
    return after
