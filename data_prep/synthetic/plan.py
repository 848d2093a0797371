"""Plans the content and defects of each synthetic clip, drawn from one seed before anything is rendered."""

import dataclasses

import numpy as np

from data_prep.synthetic import latents, words
from data_prep.synthetic.latents import EMOTIONS
from data_prep.synthetic.words import Syllable

FPS = 10
SHORTEST, LONGEST = 2.0, 4.0  # seconds

# How each modality shows an emotion: the standard deviation of its error, in units of the emotion's own spread.
# An emotion that is not listed is not shown. Words can express every emotion, so that aligning with words covers all
# that faces and voices show, but the words of one clip name only its strongest emotions (`words.MOST_CLAUSES`).
SHOWN = {
    "face": {"Admiration": 0.2, "Amusement": 0.2, "Empathic Pain": 0.2, "Joy": 0.2},
    "voice": {"Determination": 0.25, "Empathic Pain": 0.25, "Excitement": 0.2, "Joy": 0.25},
    "words": dict.fromkeys(EMOTIONS, 0.2),
}
FULL = {"Empathic Pain": 0.4}  # the intensity at which an emotion is fully shown, if not 1

# Shares of the clips with each defect. A clip lacks at most one modality, and a missing modality has no other defect.
MISSING = {"face": 0.035, "voice": 0.035, "words": 0.035}
OCCLUDED = 0.10
NOISY = 0.10

REPEATED = 0.25  # share of the clips that repeat one of PROMPTS texts, within and across splits
PROMPTS = 40
SPEAKERS = {"train": 180, "valid": 12, "test": 24}


@dataclasses.dataclass(frozen=True)
class Defects:
    """The defects of a clip: a missing modality or "", what covers the face and when, the voice's noise level."""

    missing: str
    occluder: str
    occluded: tuple[float, float]
    snr_db: float


@dataclasses.dataclass(frozen=True)
class ClipPlan:
    """Everything that is needed to render a clip, and its true intensities."""

    id: str
    split: str
    speaker: int
    labels: tuple[float, ...]
    expected: tuple[float, ...]
    face: dict[str, float]
    voice: dict[str, float]
    text: str
    gesture: str
    syllables: tuple[Syllable, ...]
    seconds: float
    apex: tuple[float, float]
    defects: Defects
    seed: int

    def strengths(self, modality: str) -> dict[str, float]:
        """How strongly the face or the voice shows each of its emotions at the apex, from 0 to about 1."""
        shown: dict[str, float] = getattr(self, modality)
        return {name: min(1.1, value / FULL.get(name, 1.0)) ** 0.5 for name, value in shown.items()}

    def envelope(self, times: np.ndarray) -> np.ndarray:
        """The strength of the expression at each time, in [0, 1]: onset, apex, offset to a resting level."""
        rise, fall = (value * self.seconds for value in self.apex)
        onset = np.clip(times / rise, 0, 1)
        offset = np.clip((times - fall) / (self.seconds - fall), 0, 1)
        return (0.15 + 0.85 * _smooth(onset)) * (1 - 0.6 * _smooth(offset))


def plan_corpus(counts: dict[str, int], seed: int) -> list[ClipPlan]:
    """The clips of a corpus, in the order of their ids.

    Args:
        counts: clips per split.
        seed: the same seed and counts give the same clips.
    """
    rng = np.random.default_rng(seed)
    total = sum(counts.values())
    hidden = latents.draw_latents(rng, total)
    labels, expected = latents.draw_labels(rng, hidden), latents.expected_labels(hidden)
    shown = {name: _show(rng, expected, errors) for name, errors in SHOWN.items()}
    prompts = _prompts(rng)
    speakers = _speakers(rng, counts)

    plans = []
    for k, (split, speaker) in enumerate(speakers):
        wording = words.levels({name: values[k] for name, values in shown["words"].items()})
        gesture, interjection = _manner(rng)
        text = words.compose(rng, wording, gesture, interjection)
        if rng.random() < REPEATED:
            gesture, text = _nearest(prompts, wording)
        pace = 0.15 * (1 + 0.03 * np.sin(1.7 * speaker))
        syllables = words.speak(rng, text, pace, LONGEST - 0.15)
        seconds = round(max(SHORTEST, syllables[-1].end + rng.uniform(0.15, 0.3)) * FPS) / FPS
        plans.append(
            ClipPlan(
                id=f"{k + 1:05d}",
                split=split,
                speaker=speaker,
                labels=tuple(labels[k].round(4).tolist()),
                expected=tuple(expected[k].round(4).tolist()),
                face={name: float(values[k]) for name, values in shown["face"].items()},
                voice={name: float(values[k]) for name, values in shown["voice"].items()},
                text=text,
                gesture=gesture,
                syllables=tuple(syllables),
                seconds=min(seconds, LONGEST),
                apex=(rng.uniform(0.15, 0.35), rng.uniform(0.7, 0.85)),
                defects=_defects(rng),
                seed=int(rng.integers(2**31)),
            )
        )
    return plans


def _smooth(x: np.ndarray) -> np.ndarray:
    return x * x * (3 - 2 * x)


def _show(rng: np.random.Generator, expected: np.ndarray, errors: dict[str, float]) -> dict[str, np.ndarray]:
    """What one modality shows: E[y | a] plus that modality's error, clipped to [0, 1.1]."""
    columns = {name: expected[:, EMOTIONS.index(name)] for name in errors}
    return {
        name: np.clip(column + errors[name] * column.std() * rng.standard_normal(len(column)), 0, 1.1)
        for name, column in columns.items()
    }


def _speakers(rng: np.random.Generator, counts: dict[str, int]) -> list[tuple[str, int]]:
    """(split, speaker) of each clip, with the splits shuffled; no speaker is in two splits."""
    pairs, first = [], 0
    for split, clips in counts.items():
        pairs += [(split, first + k % SPEAKERS[split]) for k in range(clips)]
        first += SPEAKERS[split]
    return [pairs[k] for k in rng.permutation(len(pairs))]


def _manner(rng: np.random.Generator) -> tuple[str, str]:
    return str(rng.choice(list(words.GESTURES))), str(rng.choice(list(words.INTERJECTIONS)))


def _prompts(rng: np.random.Generator) -> list[tuple[dict[str, int], str, str]]:
    """(levels, gesture, text) of the texts that several clips share."""
    expected = latents.expected_labels(latents.draw_latents(rng, PROMPTS))
    prompts = []
    for row in expected:
        wording = words.levels(dict(zip(EMOTIONS, row, strict=True)))
        gesture, interjection = _manner(rng)
        prompts.append((wording, gesture, words.compose(rng, wording, gesture, interjection)))
    return prompts


def _nearest(prompts: list[tuple[dict[str, int], str, str]], wording: dict[str, int]) -> tuple[str, str]:
    """Gesture and text of the prompt whose wording is nearest."""
    _, gesture, text = min(prompts, key=lambda prompt: sum((prompt[0][name] - wording[name]) ** 2 for name in wording))
    return gesture, text


def _defects(rng: np.random.Generator) -> Defects:
    draw, missing = rng.random(), ""
    for name, share in MISSING.items():
        if 0 <= draw < share:
            missing = name
        draw -= share
    occluder = str(rng.choice(["hand", "mask", "box"])) if rng.random() < OCCLUDED else ""
    start, length = rng.uniform(0, 0.4), rng.uniform(0.5, 1.0)
    snr_db = float(rng.uniform(-3, 6))
    noisy = rng.random() < NOISY
    return Defects(
        missing=missing,
        occluder=occluder if missing != "face" else "",
        occluded=(start, min(1.0, start + length)),
        snr_db=round(snr_db, 2) if noisy and missing != "voice" else np.inf,
    )
