"""The static appearance of synthetic speakers: it differs between speakers and does not depend on emotion."""

import functools

import numpy as np

from data_prep.synthetic.canvas import SIZE, blob, ellipse, points, shape

Look = dict[str, np.ndarray]  # colours and proportions by name


@functools.lru_cache(maxsize=256)
def speaker_look(speaker: int) -> Look:
    """Colours and proportions of one speaker."""
    rng = np.random.default_rng([speaker, 1])
    light, dark = np.array([238, 200, 172]), np.array([150, 102, 76])
    skin = dark + (light - dark) * rng.uniform(0, 1)
    hair = np.array([[38, 28, 24], [92, 58, 34], [176, 134, 74], [120, 116, 112], [128, 52, 28]])[rng.integers(5)]
    return {
        "skin": skin,
        "hair": hair * rng.uniform(0.8, 1.1),
        "iris": np.array([[70, 46, 30], [60, 96, 130], [72, 104, 62]])[rng.integers(3)],
        "shape": np.array([rng.uniform(40, 46), rng.uniform(54, 58)]),  # half axes of the head
        "eyes": np.array([rng.uniform(17, 20), rng.uniform(-13, -9)]),  # half distance, height above the centre
        "mouth": np.array([rng.uniform(14, 17), rng.uniform(29, 32)]),  # half width, depth below the centre
        "brow": np.array([rng.uniform(2.2, 3.4)]),
        "shirt": rng.uniform(40, 160, 3),
        "style": np.array([rng.integers(3)]),
    }


@functools.lru_cache(maxsize=256)
def still_head(speaker: int) -> tuple[np.ndarray, np.ndarray]:
    """The static part of a head: uint8 [SIZE, SIZE, 3] picture and float32 [SIZE, SIZE] opacity."""
    look = speaker_look(speaker)
    wide, tall = look["shape"]
    skin, hair = look["skin"], look["hair"]
    head: np.ndarray = np.zeros((SIZE, SIZE, 3), np.float32)
    alpha = np.zeros((SIZE, SIZE), np.float32)
    long_hair = look["style"][0] == 2

    def part(x: float, y: float, axes: tuple[float, float], colour: np.ndarray) -> None:
        ellipse(head, x, y, axes, colour.tolist())
        ellipse(alpha, x, y, axes, [1.0])

    if long_hair:
        part(0, 4, (wide + 10, tall + 8), hair)
    part(0, tall + 8, (17, 22), 0.72 * skin)  # the neck
    for side in (-1, 1):
        part(side * (wide + 1), 2, (5, 9), 0.85 * skin)
    part(0, -12, (wide + 5, tall - 4), hair)
    part(0, 0, (wide, tall), skin)
    if look["style"][0] >= 1:
        shape(head, points(*_fringe(wide, tall)), hair.tolist())
    face = blob(0, -2, 1.15 * wide, 1.1 * tall)
    head = head * (0.72 + 0.36 * face)
    for side in (-1, 1):
        head = head * (1 - 0.34 * blob(side * look["eyes"][0], look["eyes"][1] - 1, 12, 8))  # eye sockets
        head = head + 18 * blob(side * 21, 12, 12, 10)  # cheek bones
    head = (
        head + 30 * blob(0, 2, 5, 16) + 14 * blob(0, -32, 26, 10) - 26 * blob(0, 19, 8, 3.5) - 12 * blob(0, 42, 13, 4)
    )
    return np.clip(head, 0, 255).astype(np.uint8), alpha


def _fringe(wide: float, tall: float) -> tuple[np.ndarray, np.ndarray]:
    angle = np.linspace(np.pi * 1.14, np.pi * 1.86, 24)
    outer = (1.02 * wide * np.cos(angle), 1.03 * tall * np.sin(angle))
    inner = (0.9 * wide * np.cos(angle[::-1]), -0.42 * tall + 0.34 * tall * np.sin(angle[::-1]))
    return np.concatenate([outer[0], inner[0]]), np.concatenate([outer[1], inner[1]])
