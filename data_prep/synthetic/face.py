"""Stylised faces whose expression a person can read, drawn frame by frame with antialiased OpenCV shapes.

Joy curves the mouth up, Amusement narrows the eyes and reddens the cheeks, Empathic Pain slants the brows and pulls
the mouth's corners down, Admiration raises the brows, widens the pupils and tilts the head. Speech opens the mouth in
its syllables' shapes.
"""

import functools

import cv2
import numpy as np

from data_prep.synthetic.plan import FPS, ClipPlan

SIZE = 160  # pixels, width and height
CENTRE = (80, 82)
_SHIFT = 4  # OpenCV's fixed-point bits: sub-pixel drawing, so that small motions are smooth

# Mouth opening and width per vowel, in pixels and as a share.
_MOUTH = {"a": (9.0, 1.0), "e": (5.0, 1.1), "i": (3.5, 1.2), "o": (7.5, 0.7), "u": (4.5, 0.5)}


def render_frames(plan: ClipPlan) -> np.ndarray:
    """The pictures of a clip, uint8 [N, SIZE, SIZE, 3] RGB at FPS frames a second."""
    rng = np.random.default_rng(plan.seed)
    look = speaker_look(plan.speaker)
    times = np.arange(round(plan.seconds * FPS)) / FPS
    scene = _scene(rng)
    if plan.defects.missing == "face":
        return np.stack([_grain(scene, rng) for _ in times])
    cues = {name: value**0.7 * plan.envelope(times) for name, value in plan.face.items()}
    opening, width = _speech(plan, times)
    turn, nod = _gesture(plan, times)
    sway = rng.uniform(-3, 3, 2)[:, None] + 1.5 * np.sin(2 * np.pi * rng.uniform(0.2, 0.4, (2, 1)) * times)
    tilt = 11 * cues["Admiration"] + rng.normal(0, 1)
    base, alpha = _head(plan.speaker)
    _ellipse(scene, 0, 100, (62, 38), look["shirt"])
    occluder = _occluder(plan, rng)

    frames = np.empty((len(times), SIZE, SIZE, 3), np.uint8)
    for n in range(len(times)):
        head = base.copy()
        state = {name: float(values[n]) for name, values in cues.items()}
        _features(head, look, state, float(opening[n]), float(width[n]), float(turn[n]), float(nod[n]))
        moved = cv2.getRotationMatrix2D(CENTRE, float(tilt[n]), 1.0)
        moved[:, 2] += sway[:, n] + (0.8 * turn[n], 0.8 * nod[n])
        head = cv2.warpAffine(head, moved, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        mask = cv2.warpAffine(alpha, moved, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        picture = cv2.blendLinear(head, scene, mask, 1 - mask)
        if occluder is not None and plan.defects.occluded[0] <= n / len(times) <= plan.defects.occluded[1]:
            cover, opacity = occluder
            picture = cv2.blendLinear(cover, picture, opacity, 1 - opacity)
        frames[n] = _grain(picture, rng)
    return frames


@functools.lru_cache(maxsize=64)
def speaker_look(speaker: int) -> dict[str, np.ndarray]:
    """Colours and proportions of one speaker: what differs between people and says nothing of the emotion."""
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


def _point(x: float, y: float) -> tuple[int, int]:
    scale = 1 << _SHIFT
    return round((CENTRE[0] + x) * scale), round((CENTRE[1] + y) * scale)


def _points(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Fixed-point int32 [N, 2] of offsets from the centre."""
    return ((np.stack([xs, ys], axis=1) + CENTRE) * (1 << _SHIFT)).round().astype(np.int32)


def _ellipse(
    image: np.ndarray, x: float, y: float, axes: tuple[float, float], colour: np.ndarray, angle: float = 0
) -> None:
    size = tuple(max(1, round(a * (1 << _SHIFT))) for a in axes)
    cv2.ellipse(image, _point(x, y), size, angle, 0, 360, colour.tolist(), -1, cv2.LINE_AA, _SHIFT)


def _shape(image: np.ndarray, xs: np.ndarray, ys: np.ndarray, colour: np.ndarray) -> None:
    cv2.fillPoly(image, [_points(xs, ys)], colour.tolist(), cv2.LINE_AA, _SHIFT)


def _stroke(image: np.ndarray, xs: np.ndarray, ys: np.ndarray, colour: np.ndarray, thickness: float) -> None:
    cv2.polylines(image, [_points(xs, ys)], False, colour.tolist(), max(1, round(thickness)), cv2.LINE_AA, _SHIFT)


def _blob(x: float, y: float, width: float, height: float) -> np.ndarray:
    """A soft spot with its peak of 1 at (x, y) from the centre, float32 [SIZE, SIZE, 1]."""
    row, column = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    spot = np.exp(-((column - CENTRE[0] - x) ** 2) / width**2 - (row - CENTRE[1] - y) ** 2 / height**2)
    return spot[..., None].astype(np.float32)


@functools.lru_cache(maxsize=4)
def _head(speaker: int) -> tuple[np.ndarray, np.ndarray]:
    """What of a head does not move: uint8 [SIZE, SIZE, 3] picture and float32 [SIZE, SIZE] opacity."""
    look = speaker_look(speaker)
    wide, tall = look["shape"]
    skin, hair = look["skin"], look["hair"]
    head: np.ndarray = np.zeros((SIZE, SIZE, 3), np.float32)
    alpha = np.zeros((SIZE, SIZE), np.float32)
    long_hair = look["style"][0] == 2

    def part(x: float, y: float, axes: tuple[float, float], colour: np.ndarray) -> None:
        _ellipse(head, x, y, axes, colour)
        _ellipse(alpha, x, y, axes, np.ones(1))

    if long_hair:
        part(0, 4, (wide + 10, tall + 8), hair)
    part(0, tall + 8, (17, 22), 0.72 * skin)  # the neck
    for side in (-1, 1):
        part(side * (wide + 1), 2, (5, 9), 0.85 * skin)
    part(0, -12, (wide + 5, tall - 4), hair)
    part(0, 0, (wide, tall), skin)
    if look["style"][0] >= 1:
        _shape(head, *_fringe(wide, tall), hair)
    face = _blob(0, -2, 1.15 * wide, 1.1 * tall)
    head = head * (0.72 + 0.36 * face)
    for side in (-1, 1):
        head = head * (1 - 0.34 * _blob(side * look["eyes"][0], look["eyes"][1] - 1, 12, 8))  # eye sockets
        head = head + 18 * _blob(side * 21, 12, 12, 10)  # cheek bones
    head = (
        head
        + 30 * _blob(0, 2, 5, 16)
        + 14 * _blob(0, -32, 26, 10)
        - 26 * _blob(0, 19, 8, 3.5)
        - 12 * _blob(0, 42, 13, 4)
    )
    return np.clip(head, 0, 255).astype(np.uint8), alpha


def _fringe(wide: float, tall: float) -> tuple[np.ndarray, np.ndarray]:
    angle = np.linspace(np.pi * 1.14, np.pi * 1.86, 24)
    outer = (1.02 * wide * np.cos(angle), 1.03 * tall * np.sin(angle))
    inner = (0.9 * wide * np.cos(angle[::-1]), -0.42 * tall + 0.34 * tall * np.sin(angle[::-1]))
    return np.concatenate([outer[0], inner[0]]), np.concatenate([outer[1], inner[1]])


def _features(
    head: np.ndarray,
    look: dict[str, np.ndarray],
    cue: dict[str, float],
    opening: float,
    width: float,
    turn: float,
    nod: float,
) -> None:
    """Draws eyes, brows, cheeks and mouth into `head`."""
    joy, fun, pain, awe = cue["Joy"], cue["Amusement"], cue["Empathic Pain"], cue["Admiration"]
    dark, lip = np.array([34.0, 24, 22]), 0.5 * look["skin"] + np.array([78.0, 10, 18])
    spread, height = look["eyes"]

    blush = np.array([74.0, -44, -34], np.float32) * fun
    for side in (-1, 1):
        cheek = _cheek(side)
        rows, columns = cheek[0]
        head[rows, columns] = np.clip(head[rows, columns] + blush * cheek[1], 0, 255)

        x, y = side * spread + turn, height + nod
        tall = max(0.9, 5.2 * (1 - 0.85 * min(1.0, 1.15 * fun)) + 2.2 * awe)
        _ellipse(head, x, y, (8.2, tall + 1.3), dark)
        _ellipse(head, x, y + 0.4, (7.4, tall), np.array([244.0, 242, 238]))
        if tall > 1.6:
            pupil = 2.1 + 1.2 * awe
            _ellipse(head, x + 0.4 * turn, y + 0.3, (4.2, min(tall, 4.2)), look["iris"].astype(float))
            _ellipse(head, x + 0.4 * turn, y + 0.3, (pupil, min(tall, pupil)), dark)
            _ellipse(head, x + 0.4 * turn + 1.4, y - 1.2, (1.1, min(tall, 1.1)), np.full(3, 255.0))

        _ellipse(head, x + side, y + 10 + 5 * pain, (2.4 * pain, 6 * pain), np.array([168.0, 206, 240]))  # a tear

        along = np.linspace(-1, 1, 7)  # from the inner to the outer end of the brow
        lift = 9 * awe - 2 * fun
        slant = (11 * pain - 2.0) * (-along)  # Empathic Pain: the inner ends up
        brow_y = y - 12.5 - lift - slant + 2.0 * along**2
        _stroke(head, x + side * 9.5 * along, brow_y, 0.55 * look["hair"], look["brow"][0])

    half, depth = look["mouth"]
    curve = 13 * joy - 11 * pain + 0.5
    half = half * width * (1 + 0.3 * joy)
    opening = opening + 5 * joy  # a smile shows its teeth
    along = np.linspace(-1, 1, 15)
    middle = depth + nod + curve * (0.45 - along**2)
    gap = 0.5 * opening * (1 - along**2)
    _shape(
        head,
        turn + half * np.concatenate([1.08 * along, 1.08 * along[::-1]]),
        np.concatenate([middle - gap - 2.4 * (1 - along**2) - 0.6, (middle + gap + 3.0 * (1 - along**2) + 0.6)[::-1]]),
        lip,
    )
    _shape(
        head,
        turn + half * np.concatenate([along, along[::-1]]),
        np.concatenate([middle - gap - 0.5, (middle + gap + 0.5)[::-1]]),
        np.array([66.0, 20, 26]),
    )
    if opening > 3:
        teeth = np.clip(gap, 0, 2.2)
        _shape(
            head,
            turn + 0.8 * half * np.concatenate([along, along[::-1]]),
            np.concatenate([middle - gap, (middle - gap + teeth)[::-1]]),
            np.array([240.0, 238, 230]),
        )


@functools.cache
def _cheek(side: int) -> tuple[tuple[slice, slice], np.ndarray]:
    window = (slice(CENTRE[1] - 2, CENTRE[1] + 34), slice(CENTRE[0] + side * 24 - 18, CENTRE[0] + side * 24 + 18))
    return window, _blob(side * 24, 16, 13, 11)[window]


def _speech(plan: ClipPlan, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mouth opening in pixels and width as a share, each [N]."""
    opening, width = np.full(len(times), 0.6), np.ones(len(times))
    for syllable in plan.syllables:
        middle, reach = (syllable.start + syllable.end) / 2, 0.62 * (syllable.end - syllable.start)
        weight = np.exp(-(((times - middle) / reach) ** 4))
        gap, share = _MOUTH[syllable.vowel]
        opening = np.maximum(opening, gap * weight)
        width = width + (share - 1) * weight
    return opening, np.clip(width, 0.45, 1.25)


def _gesture(plan: ClipPlan, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of the features in pixels to the side (shaking the head) and down (nodding), each [N]."""
    swing = 5.0 * np.sin(2 * np.pi * 1.6 * times) * np.clip(2.2 - times, 0.35, 1.0)
    still = np.zeros(len(times))
    return (swing if plan.gesture == "shake" else still, swing if plan.gesture == "nod" else still)


def _scene(rng: np.random.Generator) -> np.ndarray:
    """A blurred background, uint8 [SIZE, SIZE, 3]."""
    small = rng.uniform(60, 200) + rng.uniform(-30, 30, 3) + rng.uniform(-25, 25, (3, 3, 3))
    return np.clip(cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def _grain(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture under a camera's noise."""
    row, column = rng.integers(0, SIZE, 2)
    return cv2.add(picture, _noise()[row : row + SIZE, column : column + SIZE], dtype=cv2.CV_8U)


@functools.cache
def _noise() -> np.ndarray:
    one = np.random.default_rng(0).normal(0, 1.5, (2 * SIZE, 2 * SIZE)).round().astype(np.int16)
    return np.repeat(one[..., None], 3, axis=2)


def _occluder(plan: ClipPlan, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray] | None:
    """What covers the face, as a picture and its opacity."""
    cover = np.zeros((SIZE, SIZE, 3), np.uint8)
    opacity = np.zeros((SIZE, SIZE), np.float32)

    def part(x: float, y: float, axes: tuple[float, float], colour: np.ndarray, angle: float = 0) -> None:
        _ellipse(cover, x, y, axes, colour, angle)
        _ellipse(opacity, x, y, axes, np.ones(1), angle)

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
