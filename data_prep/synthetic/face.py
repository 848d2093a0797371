"""Stylised faces whose expression a person can read, drawn frame by frame with antialiased OpenCV shapes.

Joy curves the mouth up, Amusement narrows the eyes and reddens the cheeks, Empathic Pain slants the brows and pulls
the mouth's corners down, Admiration raises the brows, widens eyes and pupils and tilts the head a little. Speech opens
the mouth in the shapes of its syllables.
"""

import functools
from typing import NamedTuple

import cv2
import numpy as np

from data_prep.synthetic.canvas import CENTRE, SIZE, Colour, blob, ellipse, points, shape, stroke
from data_prep.synthetic.head import Look, speaker_look, still_head
from data_prep.synthetic.plan import FPS, ClipPlan
from data_prep.synthetic.surroundings import add_grain, draw_occluder, draw_scene

_DARK, _EYEBALL, _GLINT, _TEAR = [34.0, 24, 22], [244.0, 242, 238], [255.0] * 3, [168.0, 206, 240]

# Per vowel, the mouth's opening in pixels and its width as a share.
_MOUTH = {"a": (9.0, 1.0), "e": (5.0, 1.1), "i": (3.5, 1.2), "o": (7.5, 0.7), "u": (4.5, 0.5)}


def render_frames(plan: ClipPlan) -> np.ndarray:
    """The pictures of a clip, uint8 [N, SIZE, SIZE, 3] RGB at FPS frames per second."""
    rng = np.random.default_rng(plan.seed)
    look = speaker_look(plan.speaker)
    times = np.arange(round(plan.seconds * FPS)) / FPS
    scene = draw_scene(plan.speaker)
    if plan.defects.missing == "face":
        return np.stack([add_grain(scene, rng) for _ in times])
    envelope = plan.envelope(times)
    cues = {name: value * envelope for name, value in plan.strengths("face").items()}
    opening, width = _speech(plan, times)
    turn, nod = _gesture(plan, times)
    sway = rng.uniform(-3, 3, 2)[:, None] + 1.5 * np.sin(2 * np.pi * rng.uniform(0.2, 0.4, (2, 1)) * times)
    tilt = 4 * cues["Admiration"] + rng.normal(0, 1)
    base, alpha = still_head(plan.speaker)
    ellipse(scene, 0, 100, (62, 38), look["shirt"].tolist())
    cues["frown"] = np.full(len(times), float(plan.gesture == "shake"))  # saying no lowers the brows
    occluder = draw_occluder(plan, rng)

    brows, mouth = _brows(look, cues, turn, nod), _mouth(look, cues, opening, width, turn, nod)
    brow, thickness = (0.55 * look["hair"]).tolist(), float(look["brow"][0])

    frames = np.empty((len(times), SIZE, SIZE, 3), np.uint8)
    for n in range(len(times)):
        head = base.copy()
        _redden_cheeks(head, float(cues["Amusement"][n]))
        _draw_eyes(head, look, {name: float(values[n]) for name, values in cues.items()}, float(turn[n]), float(nod[n]))
        for line in brows[n]:
            stroke(head, line, brow, thickness)
        for part in mouth:
            if part.shown[n]:
                shape(head, part.outlines[n], part.colour)
        moved = cv2.getRotationMatrix2D(CENTRE, float(tilt[n]), 1.0)
        moved[:, 2] += sway[:, n] + (0.8 * turn[n], 0.8 * nod[n])
        head = cv2.warpAffine(head, moved, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        mask = cv2.warpAffine(alpha, moved, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        picture = cv2.blendLinear(head, scene, mask, 1 - mask)
        if occluder is not None and plan.defects.occluded[0] <= n / len(times) <= plan.defects.occluded[1]:
            cover, opacity = occluder
            picture = cv2.blendLinear(cover, picture, opacity, 1 - opacity)
        frames[n] = add_grain(picture, rng)
    return frames


def _redden_cheeks(head: np.ndarray, fun: float) -> None:
    if fun:
        window, cheeks = _cheeks()
        blush = np.array([74.0, -44, -34], np.float32) * fun
        head[window] = np.clip(head[window] + blush * cheeks, 0, 255)


@functools.cache
def _cheeks() -> tuple[tuple[slice, slice], np.ndarray]:
    """The part of a picture that holds both cheeks, and how red they turn there, float32 [rows, columns, 1]."""
    redness = np.zeros((SIZE, SIZE, 1), np.float32)
    rows, reach = slice(CENTRE[1] - 2, CENTRE[1] + 34), 18
    for x in (-24, 24):
        cheek = rows, slice(CENTRE[0] + x - reach, CENTRE[0] + x + reach)
        redness[cheek] = blob(x, 16, 13, 11)[cheek]
    window = rows, slice(CENTRE[0] - 24 - reach, CENTRE[0] + 24 + reach)
    return window, redness[window]


def _draw_eyes(head: np.ndarray, look: Look, cue: dict[str, float], turn: float, nod: float) -> None:
    """Draws eyes and tears into `head`, offset by (turn, nod) pixels."""
    fun, pain, awe = cue["Amusement"], cue["Empathic Pain"], cue["Admiration"]
    (spread, height), iris_colour = look["eyes"].tolist(), look["iris"].tolist()
    y = height + nod
    tall = max(0.9, 5.2 * (1 - 0.85 * min(1.0, 1.15 * fun)) + 4.5 * awe)
    for side in (-1, 1):
        x = side * spread + turn
        ellipse(head, x, y, (8.2 + 1.5 * awe, tall + 1.3), _DARK)
        ellipse(head, x, y + 0.4, (7.4 + 1.5 * awe, tall), _EYEBALL)
        if tall > 1.6:
            pupil, iris = 2.1 + 2.0 * awe, 4.2 + 1.5 * awe
            ellipse(head, x + 0.4 * turn, y + 0.3, (iris, min(tall, iris)), iris_colour)
            ellipse(head, x + 0.4 * turn, y + 0.3, (pupil, min(tall, pupil)), _DARK)
            ellipse(head, x + 0.4 * turn + 1.4, y - 1.2, (1.1, min(tall, 1.1)), _GLINT)
        ellipse(head, x + side, y + 10 + 5 * pain, (4.5 * pain, 12 * pain), _TEAR)


def _brows(look: Look, cues: dict[str, np.ndarray], turn: np.ndarray, nod: np.ndarray) -> np.ndarray:
    """Both brows in each picture, as lines in fixed-point coordinates, int32 [N, 2, points, 2]."""
    spread, height = look["eyes"]
    fun, pain, awe, frown = (cues[name][:, None] for name in ("Amusement", "Empathic Pain", "Admiration", "frown"))
    along = np.linspace(-1, 1, 7)  # from the inner to the outer end
    lift = 13 * awe - 2 * fun - 6 * frown
    slant = (14 * pain - 2.0) * (-along)  # Empathic Pain: the inner ends up
    y = (height + nod[:, None]) - 12.5 - lift - slant + 2.0 * along**2
    return np.stack([points((side * spread + turn[:, None]) + side * 9.5 * along, y) for side in (-1, 1)], axis=1)


class _Part(NamedTuple):
    """A part of the mouth: its outlines in fixed-point coordinates int32 [N, points, 2], its colour, when it shows."""

    outlines: np.ndarray
    colour: Colour
    shown: np.ndarray


def _mouth(
    look: Look,
    cues: dict[str, np.ndarray],
    opening: np.ndarray,
    width: np.ndarray,
    turn: np.ndarray,
    nod: np.ndarray,
) -> list[_Part]:
    """The lips, the inside of the mouth and the teeth in each picture, offset by (turn, nod) pixels."""
    opening, width, turn, nod = (values[:, None] for values in (opening, width, turn, nod))
    joy, pain = cues["Joy"][:, None], cues["Empathic Pain"][:, None]
    half, depth = look["mouth"]
    curve = 15 * joy - 14 * pain + 0.5
    half = half * width * (1 + 0.6 * joy)
    opening = 0.6 * opening + 14 * joy  # a smile shows its teeth
    along = np.linspace(-1, 1, 15)
    arch = 1 - along**2
    middle = depth + nod + curve * (0.45 - along**2)
    gap = 0.5 * opening * arch

    def outlines(half: np.ndarray, xs: np.ndarray, upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
        there_and_back = np.concatenate([xs, xs[::-1]])
        return points(turn + half * there_and_back, np.concatenate([upper, lower[:, ::-1]], axis=1))

    lips = outlines(half, 1.08 * along, middle - gap - 2.4 * arch - 0.6, middle + gap + 3.0 * arch + 0.6)
    inside = outlines(half, along, middle - gap - 0.5, middle + gap + 0.5)
    teeth = outlines(0.8 * half, along, middle - gap, middle - gap + np.clip(gap, 0, 2.2 + 7 * joy))
    always = np.ones(len(turn), bool)
    return [
        _Part(lips, (0.5 * look["skin"] + [78.0, 10, 18]).tolist(), always),
        _Part(inside, [66.0, 20, 26], always),
        _Part(teeth, [240.0, 238, 230], opening[:, 0] > 3),
    ]


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
    """The features' offsets in pixels: sideways (shaking the head) and down (nodding, lowered chin), each [N]."""
    swing = 5.0 * np.sin(2 * np.pi * 1.6 * times) * np.clip(2.2 - times, 0.35, 1.0)
    still = np.zeros(len(times))
    return (swing if plan.gesture == "shake" else still, 7.0 + 0.5 * swing if plan.gesture == "nod" else still)
