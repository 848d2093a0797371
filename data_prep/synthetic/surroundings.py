"""The surroundings of a synthetic face: background, camera noise, and occluders."""

import functools

import cv2
import numpy as np

from data_prep.synthetic.canvas import SIZE, ellipse
from data_prep.synthetic.head import speaker_look
from data_prep.synthetic.plan import ClipPlan


def draw_scene(speaker: int) -> np.ndarray:
    """A speaker's blurred room, uint8 [SIZE, SIZE, 3]: the same in all clips, as if filmed at home."""
    rng = np.random.default_rng([speaker, 2])
    small = rng.uniform(60, 200) + rng.uniform(-30, 30, 3) + rng.uniform(-25, 25, (3, 3, 3))
    return np.clip(cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def add_grain(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture with camera noise."""
    row, column = rng.integers(0, SIZE, 2)
    return cv2.add(picture, _noise()[row : row + SIZE, column : column + SIZE], dtype=cv2.CV_8U)


@functools.cache
def _noise() -> np.ndarray:
    one = np.random.default_rng(0).normal(0, 1.5, (2 * SIZE, 2 * SIZE)).round().astype(np.int16)
    return np.repeat(one[..., None], 3, axis=2)


def draw_occluder(plan: ClipPlan, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """The occluder of the face, as a picture and its opacity; None if there is none."""
    cover = np.zeros((SIZE, SIZE, 3), np.uint8)
    opacity = np.zeros((SIZE, SIZE), np.float32)

    def part(x: float, y: float, axes: tuple[float, float], colour: np.ndarray, angle: float = 0) -> None:
        ellipse(cover, x, y, axes, colour.tolist(), angle)
        ellipse(opacity, x, y, axes, [1.0], angle)

    match plan.defects.occluder:
        case "":
            return None
        case "mask":
            part(0, 28, (39, 26), np.array([176.0, 206, 214]))
        case "box":
            row, column = 82 + rng.integers(-30, 0), 80 + rng.integers(-48, -16)
            cover[row : row + 62, column : column + 66] = rng.uniform(30, 220, 3)
            opacity[row : row + 62, column : column + 66] = 1
        case "hand":
            skin, side = 0.9 * speaker_look(plan.speaker)["skin"], rng.choice([-1, 1])
            part(side * 16, 40, (26, 22), skin)
            for finger in range(4):
                shade = skin * (0.86 if finger % 2 else 1.0)
                part(side * (26 - 11 * finger), 6 + 3 * abs(finger - 1.5), (6, 26), shade, side * (9 - 6 * finger))
    return cover, opacity
