"""Features that are computed while a clip is read: descriptors of its faces, voice or words, in place of a tower."""

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from typing import Any, Protocol

import cv2
import numpy as np

from emi_jax.descriptors.face import FaceDescriptorsConfig, describe_faces
from emi_jax.descriptors.voice import VoiceDescriptorsConfig, describe_voice, voice_steps
from emi_jax.descriptors.words import WordDescriptorsConfig, describe_words
from emi_jax.modalities import AUDIO, STEPWISE, TEXT, VISION

LIBRARIES = f"librosa {importlib.metadata.version('librosa')}, OpenCV {cv2.getVersionString()}"
"""The libraries that compute descriptors; another version may compute other numbers."""

Arrays = dict[str, np.ndarray]


class Describer(Protocol):
    """Replaces the pictures, the sound or the words of a clip by features."""

    @property
    def config(self) -> Any:
        """The config of the descriptors."""

    def __call__(self, arrays: Arrays, /) -> Arrays:
        """The arrays of a clip with `{modality}/features`, `/mask`, `/clean`, `/supervised` and `/times`."""


@dataclasses.dataclass(frozen=True)
class FaceDescriber:
    """Describes each frame."""

    config: FaceDescriptorsConfig

    def __call__(self, arrays: Arrays) -> Arrays:
        """Replaces the frames of a clip; the landmarks of a corrupted frame count as unknown."""
        others, mask, clean, supervised = _taken(arrays, "frames", "frame")
        landmarks, times = others.pop("frame_landmarks"), others.pop("frame_times")
        features = np.zeros((len(mask), self.config.hidden_size), np.float32)
        known = np.where(clean[:, None, None], landmarks, np.nan)
        if mask.any():
            features[mask] = describe_faces(self.config, arrays["frames"][mask], known[mask])
        return others | _steps(VISION, features, mask, clean, supervised, times)


@dataclasses.dataclass(frozen=True)
class VoiceDescriber:
    """Describes the voice in steps of equal length."""

    config: VoiceDescriptorsConfig

    def __call__(self, arrays: Arrays) -> Arrays:
        """Replaces the sound of a clip."""
        others, mask, clean, supervised = _taken(arrays, "audio", "audio")
        start, tempo = others.pop("audio_start"), others.pop("audio_tempo")
        count = voice_steps(self.config, len(mask))
        described, at = describe_voice(self.config, arrays["audio"][mask])
        features, times = np.zeros((count, self.config.hidden_size), np.float32), np.zeros(count, np.float32)
        features[: len(described)], times[: len(at)] = described, tempo * at + start
        flags = (_share(flag, count) > 0.5 for flag in (clean, supervised))
        return others | _steps(AUDIO, features, np.arange(count) < len(described), *flags, times)


@dataclasses.dataclass(frozen=True)
class WordDescriber:
    """Describes each word."""

    config: WordDescriptorsConfig

    def __call__(self, arrays: Arrays) -> Arrays:
        """Replaces the words of a clip."""
        others, mask, clean, supervised = _taken(arrays, "tokens", "token")
        features = np.zeros((len(mask), self.config.hidden_size), np.float32)
        if mask.any():
            features[mask] = describe_words(self.config, arrays["tokens"][mask].tolist())
        return others | _steps(TEXT, features, mask, clean, supervised, others.pop("token_times"))


DESCRIPTORS: dict[str, tuple[str, Any, Any]] = {
    config.model_type: (modality, config, describer)
    for modality, config, describer in (
        (VISION, FaceDescriptorsConfig, FaceDescriber),
        (AUDIO, VoiceDescriptorsConfig, VoiceDescriber),
        (TEXT, WordDescriptorsConfig, WordDescriber),
    )
}
"""Model types without weights: the modality, the config and the describer."""


def build_describer(config: Mapping[str, Any], modality: str) -> Describer:
    """Builds the describer that a config names by its `model_type`.

    Raises:
        ValueError: it describes another modality, or a value is not supported.
    """
    describes, config_type, describer = DESCRIPTORS[config["model_type"]]
    if describes != modality:
        raise ValueError(
            f"model_type = {config['model_type']!r} describes {describes} and cannot be the {modality} encoder"
        )
    return describer(config_type.from_dict(config))


def _taken(arrays: Arrays, raw: str, prefix: str) -> tuple[Arrays, np.ndarray, np.ndarray, np.ndarray]:
    """The other arrays of a clip, and the mask, the clean and the supervised steps of its pictures, sound or words."""
    flags = [f"{prefix}_{part}" for part in ("mask", "clean", "supervised")]
    others = {name: array for name, array in arrays.items() if name not in (raw, *flags)}
    mask, clean, supervised = (arrays[name] for name in flags)
    return others, mask, clean, supervised


def _steps(modality: str, *arrays: np.ndarray) -> Arrays:
    return {f"{modality}/{part}": array for part, array in zip(STEPWISE, arrays, strict=True)}


def _share(flags: np.ndarray, count: int) -> np.ndarray:
    """The share of samples that are True in each of `count` equal parts."""
    edges = np.linspace(0, len(flags), count + 1).astype(int)
    sums = np.concatenate([[0], np.cumsum(flags)])
    return (sums[edges[1:]] - sums[edges[:-1]]) / np.maximum(np.diff(edges), 1)
