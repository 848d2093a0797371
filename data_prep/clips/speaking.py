"""Who of several people speaks: the one whose mouth moves as the sound swells and fades."""

from collections.abc import Mapping, Sequence

import numpy as np

from data_prep.clips.alignment import TEMPLATE, Square, align
from data_prep.clips.crops import cut
from data_prep.clips.faces import Face
from data_prep.media.container import SAMPLE_RATE

MOUTH_PIXELS = 16
"""Side of the grey picture of a mouth."""

MOUTH = (0.5, float(TEMPLATE[3:, 1].mean()), 0.5)
"""Centre and side of the mouth's square in an aligned face, in shares of the face's square."""
MOUTH_IN_BOX = (0.5, 0.78, 0.5)
"""The same in the box of a face without landmarks."""

LEAST_SECONDS = 0.08
"""Loudness is measured over at least this long, a few periods of the deepest voices."""
LEAST_STEPS = 5
"""Fewer pairs of successive pictures with the face say nothing."""
SMOOTHED = 3
"""Successive values of movement and loudness that are averaged: a mouth rests within a syllable, a voice does not."""
LAG = 0.2
"""Seconds by which movement may come before or after the sound: mouths open before they are heard."""
LOUDNESS_EXPONENT = 0.25
"""Of the power, for a loudness that grows about as it is heard (Stevens, 1955), so that shouts do not decide alone."""
LEAST_CORRELATION = 0.2
"""A mouth that follows the sound less than this is no evidence that its owner speaks."""


def see_mouth(picture: np.ndarray, face: Face) -> np.ndarray:
    """A small picture of the mouth, float32 [side, side], with mean 0 and standard deviation 1.

    Args:
        picture: uint8 [height, width, 3].
        face: a face in it.
    """
    square = None if face.landmarks is None else align(face.landmarks)
    if square is not None:
        mouth = square.part(*MOUTH)
    else:
        mouth = Square(*face.box.centre, face.box.side, 0.0).part(*MOUTH_IN_BOX)
    grey = cut(picture, mouth, MOUTH_PIXELS, 0.0).mean(2, dtype=np.float32)
    return (grey - grey.mean()) / (grey.std() + 1)


def find_speaker(mouths: Sequence[Mapping[int, np.ndarray]], seconds: np.ndarray, sound: np.ndarray) -> int | None:
    """Finds the person who speaks.

    A mouth's movement is the mean absolute difference of the lower halves of its pictures, the lower lip and the chin,
    from one picture of the clip to the next. The speaker's is the one of which most goes with the sound: its standard
    deviation times its Pearson correlation with the loudness, at a lag of at most LAG. A listener's mouth may follow
    the sound by chance, but moves little.

    Args:
        mouths: for each person, pictures of the mouth by the index of the clip's picture, as `see_mouth` makes them.
        seconds: float [N], the times of the clip's pictures.
        sound: int16 [M], at 16 kHz.

    Returns:
        The person's index; None if no mouth follows the sound.
    """
    evidence = [_evidence(pictures, seconds, sound) for pictures in mouths]
    best = int(np.argmax(evidence))
    return best if evidence[best] > 0 else None


def _evidence(mouth: Mapping[int, np.ndarray], seconds: np.ndarray, sound: np.ndarray) -> float:
    """How much of a mouth's movement goes with the sound; 0 where it does not follow the sound or is not known."""
    steps = [n for n in sorted(mouth) if n - 1 in mouth]
    if len(steps) < LEAST_STEPS:
        return 0.0
    moved = np.array([np.abs(mouth[n] - mouth[n - 1])[MOUTH_PIXELS // 2 :].mean() for n in steps])
    loud = np.array([_loudness(sound, seconds[n - 1], seconds[n]) for n in steps])
    moved, loud = (np.convolve(series, np.ones(SMOOTHED) / SMOOTHED, mode="valid") for series in (moved, loud))
    step = max(float(np.median(np.diff(seconds))), 1e-3)
    most = min(int(LAG / step), len(moved) - LEAST_STEPS + SMOOTHED - 1)
    shifted = [
        (moved[max(0, lag) : len(moved) + min(0, lag)], loud[max(0, -lag) : len(loud) + min(0, -lag)])
        for lag in range(-most, most + 1)
    ]
    correlation = max(float(np.corrcoef(*pair)[0, 1]) if min(map(np.std, pair)) > 1e-9 else 0.0 for pair in shifted)
    return correlation * float(moved.std()) if correlation >= LEAST_CORRELATION else 0.0


def _loudness(sound: np.ndarray, start: float, end: float) -> float:
    """The loudness of the sound from one time to another; silence where there is no sound."""
    middle, half = (start + end) / 2, max(end - start, LEAST_SECONDS) / 2
    first, last = (max(0, round(second * SAMPLE_RATE)) for second in (middle - half, middle + half))
    heard = sound[first:last].astype(np.float64)
    return float(np.mean(heard**2) ** LOUDNESS_EXPONENT) if len(heard) else 0.0
