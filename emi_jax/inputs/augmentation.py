"""Augmentation of training clips: noise, tempo, pitch and shift of the voice; colour, blur, turn and scale of the face.

The voice's changes and their ranges are those of the winners of the EMI track; each occurs with the same probability.
FFmpeg's `atempo` with soxr takes 5 to 7 ms for 12 s of sound, librosa's phase vocoder 35 to 70 ms; OpenCV, which
decodes the pictures, also changes them, in 0.1 to 0.4 ms each.
"""

import dataclasses
import math
from fractions import Fraction
from typing import NamedTuple

import av
import cv2
import numpy as np
import soxr

from emi_jax.modalities import SAMPLE_RATE

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""
_MID_GREY = 127.5
_TAIL = 1600
"""Zeros that follow the sound into `atempo`, which otherwise drops sounds of less than its window."""


class VoiceChange(NamedTuple):
    """One drawn change of a voice; the default changes nothing.

    Attributes:
        tempo: speed of the speech; 1.05 is 5% faster.
        semitones: by which the pitch is raised.
        shift: by which the sound comes earlier, as a fraction of what is read; silence precedes it if negative.
        noise: standard deviation of added Gaussian noise, as a fraction of the loudest sample.
    """

    tempo: float = 1.0
    semitones: float = 0.0
    shift: float = 0.0
    noise: float = 0.0

    def window(self, samples: np.ndarray, start: int, length: int) -> tuple[np.ndarray, int]:
        """The samples that give `length` samples after the change of tempo, from `start` and shifted.

        Args:
            samples: int16 [n], the clip's sound.
            start: first sample to read without a shift.
            length: number of samples wanted after the change; fewer where the sound ends.

        Returns:
            int16 [<= length * tempo], and the position of its first sample, negative where silence precedes the clip.
        """
        wanted = int(np.ceil(length * self.tempo))
        start += round(self.shift * min(wanted, len(samples)))
        taken = samples[max(start, 0) : start + wanted]
        return np.pad(taken, (max(-start, 0), 0)), start

    def apply(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Changes tempo and pitch and adds noise: int16 [n] -> int16 [round(n / tempo)]."""
        if not len(samples) or (self.tempo, self.semitones, self.noise) == (1, 0, 0):
            return samples
        sound = samples.astype(np.float32) / 32768
        if (self.tempo, self.semitones) != (1, 0):
            sound = change_tempo_and_pitch(sound, self.tempo, self.semitones)
        noise = self.noise * np.abs(sound).max(initial=0)
        sound = sound + noise * rng.standard_normal(len(sound), np.float32)
        return np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int16)


class FaceChange(NamedTuple):
    """One drawn change of a face, the same in all frames of a clip; the default changes nothing.

    Attributes:
        brightness: factor of all colours.
        contrast: factor of the distance from mid-grey.
        saturation: factor of the distance of a colour from its grey.
        sigma: standard deviation of a Gaussian blur, as a fraction of the picture's side.
        degrees: angle of a turn about the centre, counter-clockwise.
        scale: factor of the size.
    """

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    sigma: float = 0.0
    degrees: float = 0.0
    scale: float = 1.0

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Changes a picture, uint8 RGB [size, size, 3]; what a turn uncovers is filled by reflection."""
        picture, size = np.ascontiguousarray(picture), len(picture)
        if (self.degrees, self.scale) != (0, 1):
            centre = (size - 1) / 2
            turn = cv2.getRotationMatrix2D((centre, centre), self.degrees, self.scale)
            picture = cv2.warpAffine(picture, turn, (size, size), borderMode=cv2.BORDER_REFLECT_101)
        if self.sigma:
            picture = cv2.GaussianBlur(picture, (0, 0), self.sigma * size)
        if (self.brightness, self.contrast, self.saturation) != (1, 1, 1):
            picture = cv2.transform(picture, self._colours())
        return picture

    def points(self, points: np.ndarray) -> np.ndarray:
        """Where points [..., 2], in fractions of the picture's side, lie after the turn and the scaling."""
        turn = cv2.getRotationMatrix2D((0, 0), self.degrees, self.scale)[:, :2].astype(np.float32)
        return (points - 0.5) @ turn.T + 0.5

    def _colours(self) -> np.ndarray:
        """The affine map of RGB values, float32 [3, 4]."""
        saturate = self.saturation * np.eye(3, dtype=np.float32) + (1 - self.saturation) * _LUMA
        grey = np.full((3, 1), (1 - self.contrast) * _MID_GREY, np.float32)
        return np.hstack([self.contrast * self.brightness * saturate, grey])


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How training clips are augmented. A probability or a range of 0 switches a change off.

    Attributes:
        voice: probability of each change of the voice.
        noise: lowest and highest standard deviation of the noise, as fractions of the loudest sample.
        tempo: largest relative change of the tempo, in both directions.
        semitones: largest change of the pitch, in both directions.
        shift: largest shift in time, in both directions, as a fraction of the sound that is read.
        face: probability of each change of the face.
        colour: largest relative change of brightness, contrast and saturation.
        blur: largest standard deviation of the blur, as a fraction of the picture's side.
        degrees: largest turn, in both directions.
        scale: largest relative change of the size.

    Raises:
        ValueError: a field is out of range.
    """

    voice: float = 0.0
    noise: tuple[float, float] = (0.01, 0.15)
    tempo: float = 0.05
    semitones: float = 2.0
    shift: float = 0.1
    face: float = 0.0
    colour: float = 0.2
    blur: float = 0.01
    degrees: float = 10.0
    scale: float = 0.1

    @property
    def changes(self) -> bool:
        """Whether anything is augmented."""
        return bool(self.voice or self.face)

    def longest_voice(self, samples: int) -> int:
        """The most samples of a voice of so many after a change: shifted later, and slowed down."""
        return math.ceil(samples * (1 + self.shift) / (1 - self.tempo)) + 2 if self.voice else samples

    def __post_init__(self) -> None:
        highest = {"voice": 1, "face": 1, "tempo": 0.5, "semitones": 6, "shift": 0.5, "colour": 1, "blur": 0.5}
        highest |= {"degrees": 180, "scale": 0.5}
        for name, limit in highest.items():
            if not 0 <= getattr(self, name) <= limit:
                raise ValueError(f"{name}={getattr(self, name):g} is out of range: use 0 to {limit:g}")
        if len(self.noise) != 2 or not 0 <= self.noise[0] <= self.noise[1] <= 1:
            raise ValueError(f"noise={self.noise} should be the lowest and the highest strength, from 0 to 1")

    def draw_voice(self, rng: np.random.Generator) -> VoiceChange:
        """Draws the change of a clip's voice."""
        drawn = {
            "tempo": 1 + rng.uniform(-self.tempo, self.tempo),
            "semitones": rng.uniform(-self.semitones, self.semitones),
            "shift": rng.uniform(-self.shift, self.shift),
            "noise": rng.uniform(*self.noise),
        }
        return VoiceChange(**_some(drawn, rng, self.voice))

    def draw_face(self, rng: np.random.Generator) -> FaceChange:
        """Draws the change of a clip's face."""
        colours = 1 + rng.uniform(-self.colour, self.colour, 3)
        drawn = dict(zip(("brightness", "contrast", "saturation"), colours.tolist(), strict=True))
        drawn |= {
            "sigma": rng.uniform(0, self.blur),
            "degrees": rng.uniform(-self.degrees, self.degrees),
            "scale": 1 + rng.uniform(-self.scale, self.scale),
        }
        return FaceChange(**_some(drawn, rng, self.face))


def independent_stream(rng: np.random.Generator) -> np.random.Generator:
    """A second generator, determined by the state of `rng`, whose numbers are independent of those of `rng`.

    `rng` does not change. A clip therefore has the same crop and corruption with and without augmentation, and the same
    augmentation with and without corruption.
    """
    return np.random.Generator(rng.bit_generator.jumped())  # type: ignore[attr-defined]


def change_tempo_and_pitch(sound: np.ndarray, tempo: float, semitones: float) -> np.ndarray:
    """Sound, float32 [n], at another tempo and pitch: float32 [round(n / tempo)].

    Resampling changes both; the tempo is then corrected in the time domain (overlapping similar waveforms).
    """
    length, pitch = round(len(sound) / tempo), 2 ** (semitones / 12)
    raised = soxr.resample(sound, pitch, 1.0) if semitones else sound
    changed = _at_tempo(raised, tempo / pitch)[:length]
    return np.pad(changed, (0, length - len(changed)))


def _at_tempo(sound: np.ndarray, tempo: float) -> np.ndarray:
    """FFmpeg's `atempo`: float32 [n] -> [m], m at least n / tempo."""
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=SAMPLE_RATE, format="flt", layout="mono", time_base=Fraction(1, SAMPLE_RATE))
    graph.link_nodes(source, graph.add("atempo", f"{tempo:.9f}"), graph.add("abuffersink")).configure()
    frame = av.AudioFrame.from_ndarray(np.pad(sound, (0, _TAIL))[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts = SAMPLE_RATE, 0
    graph.push(frame)
    graph.push(None)
    parts = []
    while True:
        try:
            parts.append(graph.pull().to_ndarray()[0])
        except (av.error.EOFError, av.error.BlockingIOError):
            return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _some(changes: dict[str, float], rng: np.random.Generator, probability: float) -> dict[str, float]:
    """Each change with a probability."""
    chosen = rng.random(len(changes)) < probability
    return {name: value for (name, value), kept in zip(changes.items(), chosen, strict=True) if kept}
