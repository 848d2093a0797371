"""Aligns faces: a similarity transform takes the five landmarks to those of a template, so that faces are upright.

The template has the shape of ArcFace's (Deng et al., 2019; insightface, `arcface_dst`), but lies in a wider square,
since expressions need forehead and chin: a face fills its square from below the hairline to below an open mouth's chin,
and a crop adds a margin.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

ARCFACE = np.array([(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)])
"""The template of ArcFace in pixels: right eye, left eye, tip of the nose, right and left corner of the mouth."""

EYE_DISTANCE, EYES = 0.31, np.array([0.5, 0.31])
"""Distance of the eyes and the point midway between them, in shares of the square's side."""

TEMPLATE = EYES + EYE_DISTANCE * (ARCFACE - ARCFACE[:2].mean(0)) / np.linalg.norm(ARCFACE[1] - ARCFACE[0])
"""float [5, 2]: where the landmarks of an aligned face lie, in shares of its square's side."""

STEADINESS = 0.08
"""Standard deviation in seconds of the Gaussian that smooths squares over time: noise of single pictures goes, nods and
turns of the head stay."""


class Square(NamedTuple):
    """A square that turns with a face: its centre and side in pixels, its angle in radians, clockwise."""

    x: float
    y: float
    side: float
    angle: float

    def scaled(self, factor: float) -> "Square":
        """The same square with its coordinates multiplied by a factor."""
        return Square(self.x * factor, self.y * factor, self.side * factor, self.angle)

    def part(self, x: float, y: float, side: float) -> "Square":
        """A smaller square inside: its centre and side in shares of this square's side."""
        turn = _rotation(self.angle)
        right, down = self.side * turn @ (x - 0.5, y - 0.5)
        return Square(self.x + right, self.y + down, self.side * side, self.angle)

    def to_crop(self, margin: float) -> np.ndarray:
        """The transform float [2, 3] from pixels of the picture to shares of a crop with a margin on every side."""
        turn = _rotation(-self.angle) / (self.side * (1 + 2 * margin))
        return np.column_stack([turn, 0.5 - turn @ (self.x, self.y)])


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """The rotation, scaling and shift that takes points to others with the least squared error (Umeyama, 1991).

    In the plane it has a closed form: with centred points as complex numbers z and w, w is close to a z for
    a = sum(conj(z) w) / sum(|z|^2).

    Args:
        source: float [P, 2].
        target: float [P, 2].

    Returns:
        float [2, 3], to be applied to (x, y, 1); None where all points of the source or the target coincide.
    """
    centre, goal = source.mean(0), target.mean(0)
    z, w = (source - centre) @ (1, 1j), (target - goal) @ (1, 1j)
    spread = np.sum(np.abs(z) ** 2)
    a = np.sum(z.conj() * w) / spread if spread > 0 else 0
    if not a:
        return None
    turn = np.array([[a.real, -a.imag], [a.imag, a.real]])
    return np.column_stack([turn, goal - turn @ centre])


def align(landmarks: np.ndarray) -> Square | None:
    """The square around a face, found from its landmarks float [5, 2]; None where they all coincide."""
    transform = fit_similarity(landmarks, TEMPLATE)
    if transform is None:
        return None
    turn, shift = transform[:, :2], transform[:, 2]
    x, y = np.linalg.solve(turn, (0.5, 0.5) - shift)
    return Square(float(x), float(y), 1 / math.hypot(*turn[:, 0]), -math.atan2(turn[1, 0], turn[0, 0]))


def smooth(squares: Mapping[int, Square], seconds: np.ndarray) -> dict[int, Square]:
    """Smooths squares over time, so that crops do not jitter.

    Args:
        squares: squares by the index of their picture.
        seconds: float [N], the times of all pictures.
    """
    if not squares:
        return {}
    order = sorted(squares)
    rows = np.array([squares[n] for n in order])
    rows[:, 2] = np.log(rows[:, 2])
    rows[:, 3] = np.unwrap(rows[:, 3])
    times = seconds[order]
    smoothed = np.empty_like(rows)
    for k, time in enumerate(times):
        near = slice(*np.searchsorted(times, (time - 3 * STEADINESS, time + 3 * STEADINESS)))
        weights = np.exp(-0.5 * ((times[near] - time) / STEADINESS) ** 2)
        smoothed[k] = weights @ rows[near] / weights.sum()
    smoothed[:, 2] = np.exp(smoothed[:, 2])
    return {n: Square(*row) for n, row in zip(order, smoothed.tolist(), strict=True)}


def _rotation(angle: float) -> np.ndarray:
    """A matrix [2, 2] that turns by an angle in radians, clockwise where y is down."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]])
