"""Defects of clips: each affects one modality, in degrees of severity."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from emi_jax.inputs.cached import CachedTransform
from emi_jax.inputs.dataset import Example
from emi_jax.inputs.transforms import Arrays, ClipTransform
from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION

Corrupt = Callable[[Arrays, np.random.Generator, float, ClipTransform], Arrays]


def occlude(arrays: Arrays, rng: np.random.Generator, severity: float, clean: ClipTransform) -> Arrays:
    """Covers this share of the height and width of every face, at the same place throughout the clip."""
    frames = arrays["frames"].copy()
    rows, columns = (round(side * severity) for side in frames.shape[1:3])
    top, left = (int(rng.integers(0, n - k + 1)) for n, k in zip(frames.shape[1:3], (rows, columns), strict=True))
    frames[:, top : top + rows, left : left + columns] = rng.integers(0, 256, 3)
    return arrays | {"frames": frames}


def drop_frames(arrays: Arrays, rng: np.random.Generator, severity: float, clean: ClipTransform) -> Arrays:
    """Drops this share of the frames, but always keeps one."""
    mask, valid = arrays["frame_mask"].copy(), np.flatnonzero(arrays["frame_mask"])
    mask[rng.permutation(valid)[: min(round(severity * len(valid)), max(len(valid) - 1, 0))]] = False
    return arrays | {"frame_mask": mask, "frame_supervised": mask}


def add_noise(arrays: Arrays, rng: np.random.Generator, severity: float, clean: ClipTransform) -> Arrays:
    """Adds white noise at this signal-to-noise ratio in dB over the whole clip."""
    mask = arrays["audio_mask"]
    signal = arrays["audio"].astype(np.float32)
    power = np.mean(np.square(signal[mask])) if mask.any() else 0.0
    noise = rng.standard_normal(len(signal)).astype(np.float32) * np.float32(np.sqrt(power * 10 ** (-severity / 10)))
    audio = np.clip(signal + np.where(mask, noise, 0), -32768, 32767).astype(np.int16)
    return arrays | {"audio": audio}


def mistake_words(arrays: Arrays, rng: np.random.Generator, severity: float, clean: ClipTransform) -> Arrays:
    """Replaces this share of the words by other words of the clip, or by the mask token."""
    tokens, words = arrays["tokens"].copy(), np.flatnonzero(arrays["token_supervised"])
    wrong = rng.permutation(words)[: round(severity * len(words))]
    if len(wrong):
        others = rng.choice(tokens[words], len(wrong))
        tokens[wrong] = np.where(rng.random(len(wrong)) < 0.5, others, clean.mask_token)
    return arrays | {"tokens": tokens}


@dataclasses.dataclass(frozen=True)
class Defect:
    """One way to corrupt a clip.

    Attributes:
        modality: the modality that is corrupted.
        unit: the unit of the severities, for the axis label.
        severities: from mild to severe; None is the clean clip.
        corrupt: (arrays of a clip, rng, severity, the transform that made them) -> corrupted arrays; None hides the
            modality.
    """

    modality: str
    unit: str
    severities: tuple[float | None, ...]
    corrupt: Corrupt | None


DEFECTS = {
    "occluded face": Defect(VISION, "side covered", (None, 0.25, 0.5, 0.75, 1.0), occlude),
    "dropped frames": Defect(VISION, "share of frames", (None, 0.25, 0.5, 0.75, 0.9), drop_frames),
    "noisy voice": Defect(AUDIO, "SNR, dB", (None, 20.0, 10.0, 0.0, -10.0), add_noise),
    "word errors": Defect(TEXT, "share of words", (None, 0.25, 0.5, 0.75, 1.0), mistake_words),
    "no face": Defect(VISION, "missing", (None, 1.0), None),
    "no voice": Defect(AUDIO, "missing", (None, 1.0), None),
    "no words": Defect(TEXT, "missing", (None, 1.0), None),
}


@dataclasses.dataclass(frozen=True)
class CorruptedTransform:
    """Corrupts each clip after it is read; the place of the corruption depends only on the clip's number."""

    clean: ClipTransform
    corrupt: Corrupt
    severity: float

    @property
    def padding(self) -> Arrays:
        """The arrays of an unused place in a batch."""
        return self.clean.padding

    def __call__(self, example: Example, rng: np.random.Generator, index: int) -> Arrays:
        """The corrupted arrays of one clip, without the batch axis."""
        arrays = self.clean.read(example, rng, index)
        corrupted = self.corrupt(arrays, np.random.default_rng([2603, index]), self.severity, self.clean)
        return self.clean.describe(corrupted)


@dataclasses.dataclass(frozen=True)
class Hidden:
    """Hides one modality of cached clips."""

    clean: CachedTransform
    modality: str

    @property
    def padding(self) -> Arrays:
        """The arrays of an unused place in a batch."""
        return self.clean.padding

    def __call__(self, clip: Any, rng: np.random.Generator, index: int) -> Arrays:
        """The arrays of one clip, without the batch axis."""
        arrays = self.clean(clip, rng, index)
        present = arrays["present"] & (np.array(MODALITIES) != self.modality)
        mask = f"{self.modality}/mask"
        return arrays | {"present": present, mask: np.zeros_like(arrays[mask])}
