"""Stylised faces whose expression a person can read, drawn frame by frame with antialiased OpenCV shapes.

Joy curves the mouth up, Amusement narrows the eyes and reddens the cheeks, Empathic Pain slants the brows and pulls
the mouth's corners down, Admiration raises the brows, widens eyes and pupils and tilts the head a little. Speech opens
the mouth in the shapes of its syllables.
"""

import functools

import cv2
import numpy as np

from data_prep.synthetic.canvas import CENTRE, SIZE, blob, ellipse, shape, stroke
from data_prep.synthetic.head import Look, speaker_look, still_head
from data_prep.synthetic.plan import FPS, ClipPlan
from data_prep.synthetic.surroundings import add_grain, draw_occluder, draw_scene

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
    cues = {name: value * plan.envelope(times) for name, value in plan.strengths("face").items()}
    opening, width = _speech(plan, times)
    turn, nod = _gesture(plan, times)
    sway = rng.uniform(-3, 3, 2)[:, None] + 1.5 * np.sin(2 * np.pi * rng.uniform(0.2, 0.4, (2, 1)) * times)
    tilt = 4 * cues["Admiration"] + rng.normal(0, 1)
    base, alpha = still_head(plan.speaker)
    ellipse(scene, 0, 100, (62, 38), look["shirt"])
    cues["frown"] = np.full(len(times), float(plan.gesture == "shake"))  # saying no lowers the brows
    occluder = draw_occluder(plan, rng)

    frames = np.empty((len(times), SIZE, SIZE, 3), np.uint8)
    for n in range(len(times)):
        head = base.copy()
        state = {name: float(values[n]) for name, values in cues.items()}
        moves = float(turn[n]), float(nod[n])
        _draw_upper_face(head, look, state, *moves)
        _draw_mouth(head, look, state, float(opening[n]), float(width[n]), *moves)
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


def _draw_upper_face(head: np.ndarray, look: Look, cue: dict[str, float], turn: float, nod: float) -> None:
    """Draws cheeks, eyes, tears and brows into `head`, offset by (turn, nod) pixels."""
    fun, pain, awe = cue["Amusement"], cue["Empathic Pain"], cue["Admiration"]
    dark = np.array([34.0, 24, 22])
    spread, height = look["eyes"]
    blush = np.array([74.0, -44, -34], np.float32) * fun
    for side in (-1, 1):
        cheek = _cheek(side)
        rows, columns = cheek[0]
        head[rows, columns] = np.clip(head[rows, columns] + blush * cheek[1], 0, 255)

        x, y = side * spread + turn, height + nod
        tall = max(0.9, 5.2 * (1 - 0.85 * min(1.0, 1.15 * fun)) + 4.5 * awe)
        ellipse(head, x, y, (8.2 + 1.5 * awe, tall + 1.3), dark)
        ellipse(head, x, y + 0.4, (7.4 + 1.5 * awe, tall), np.array([244.0, 242, 238]))
        if tall > 1.6:
            pupil, iris = 2.1 + 2.0 * awe, 4.2 + 1.5 * awe
            ellipse(head, x + 0.4 * turn, y + 0.3, (iris, min(tall, iris)), look["iris"].astype(float))
            ellipse(head, x + 0.4 * turn, y + 0.3, (pupil, min(tall, pupil)), dark)
            ellipse(head, x + 0.4 * turn + 1.4, y - 1.2, (1.1, min(tall, 1.1)), np.full(3, 255.0))

        ellipse(head, x + side, y + 10 + 5 * pain, (4.5 * pain, 12 * pain), np.array([168.0, 206, 240]))  # a tear

        along = np.linspace(-1, 1, 7)  # from the inner to the outer end of the brow
        lift = 13 * awe - 2 * fun - 6 * cue["frown"]
        slant = (14 * pain - 2.0) * (-along)  # Empathic Pain: the inner ends up
        brow_y = y - 12.5 - lift - slant + 2.0 * along**2
        stroke(head, x + side * 9.5 * along, brow_y, 0.55 * look["hair"], look["brow"][0])


def _draw_mouth(
    head: np.ndarray, look: Look, cue: dict[str, float], opening: float, width: float, turn: float, nod: float
) -> None:
    """Draws lips, the open mouth and teeth into `head`, offset by (turn, nod) pixels."""
    joy, pain = cue["Joy"], cue["Empathic Pain"]
    lip = 0.5 * look["skin"] + np.array([78.0, 10, 18])
    half, depth = look["mouth"]
    curve = 15 * joy - 14 * pain + 0.5
    half = half * width * (1 + 0.6 * joy)
    opening = 0.6 * opening + 14 * joy  # a smile shows its teeth
    along = np.linspace(-1, 1, 15)
    middle = depth + nod + curve * (0.45 - along**2)
    gap = 0.5 * opening * (1 - along**2)
    shape(
        head,
        turn + half * np.concatenate([1.08 * along, 1.08 * along[::-1]]),
        np.concatenate([middle - gap - 2.4 * (1 - along**2) - 0.6, (middle + gap + 3.0 * (1 - along**2) + 0.6)[::-1]]),
        lip,
    )
    shape(
        head,
        turn + half * np.concatenate([along, along[::-1]]),
        np.concatenate([middle - gap - 0.5, (middle + gap + 0.5)[::-1]]),
        np.array([66.0, 20, 26]),
    )
    if opening > 3:
        teeth = np.clip(gap, 0, 2.2 + 7 * joy)
        shape(
            head,
            turn + 0.8 * half * np.concatenate([along, along[::-1]]),
            np.concatenate([middle - gap, (middle - gap + teeth)[::-1]]),
            np.array([240.0, 238, 230]),
        )


@functools.cache
def _cheek(side: int) -> tuple[tuple[slice, slice], np.ndarray]:
    window = (slice(CENTRE[1] - 2, CENTRE[1] + 34), slice(CENTRE[0] + side * 24 - 18, CENTRE[0] + side * 24 + 18))
    return window, blob(side * 24, 16, 13, 11)[window]


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
