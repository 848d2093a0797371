"""Low-level descriptors of the voice, by librosa: cepstrum, energy, fundamental frequency and spectral shape."""

import dataclasses
import functools
import warnings
from collections.abc import Callable
from typing import ClassVar

import librosa
import numpy as np

from emi_jax.descriptors.config import DescriptorsConfig
from emi_jax.modalities import SAMPLE_RATE

DELTA_WIDTH = 5
"""Steps over which the slope of a coefficient is fitted (Savitzky-Golay, first order)."""
FLOOR = 1e-5
"""Added to amplitudes (full scale is 1) before their logarithm is taken: -100 dB."""


@dataclasses.dataclass(frozen=True)
class VoiceDescriptorsConfig(DescriptorsConfig):
    """Which descriptors of the voice are computed, and how.

    Attributes:
        hop_seconds: distance between steps, rounded to whole samples.
        sets: which groups of descriptors, in the order of their columns (see `describe_voice`).
        n_fft: samples of a window of the spectrum and of the energy.
        n_mels: mel bands, of which the cepstrum is computed.
        n_mfcc: cepstral coefficients, with the 0th.
        f0_frame: samples of a window in which the fundamental frequency is found; at least two periods of `f0_min`.
        f0_min: lowest fundamental frequency in Hz.
        f0_max: highest fundamental frequency in Hz.

    Raises:
        ValueError: a field is of another type or out of range.
    """

    model_type: ClassVar[str] = "voice_descriptors"
    hop_seconds: float = 0.02
    sets: tuple[str, ...] = ("mfcc", "mfcc_delta", "log_mel", "energy", "f0", "spectral")
    n_fft: int = 512
    n_mels: int = 40
    n_mfcc: int = 20
    f0_frame: int = 1024
    f0_min: float = 65.0
    f0_max: float = 500.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("hop_seconds", 0.001 <= self.hop_seconds <= 1, "seconds from 0.001 to 1")
        known = bool(self.sets) and len(set(self.sets)) == len(self.sets) and set(self.sets) <= SETS.keys()
        self.require("sets", known, f"one or more of {', '.join(SETS)}, each once")
        for name in ("n_fft", "f0_frame"):
            size = getattr(self, name)
            self.require(name, 64 <= size <= 16384 and size % 2 == 0, "an even number of samples from 64 to 16384")
        self.require("n_mels", self.n_mels >= 1, "1 or more")
        full = bool(_mel_filters(self.n_fft, self.n_mels).any(axis=1).all())
        self.require("n_mels", full, f"fewer: with n_fft = {self.n_fft} some bands hold no frequency")
        self.require("n_mfcc", 1 <= self.n_mfcc <= self.n_mels, f"1 to n_mels = {self.n_mels}")
        lowest = 2 * SAMPLE_RATE / self.f0_frame
        self.require("f0_min", self.f0_min >= lowest, f"{lowest:g} Hz or more, two periods in {self.f0_frame} samples")
        self.require("f0_max", self.f0_min < self.f0_max <= 2000, f"above f0_min = {self.f0_min:g} and at most 2000")

    @property
    def hop(self) -> int:
        """Samples between steps."""
        return round(self.hop_seconds * SAMPLE_RATE)

    @property
    def hidden_size(self) -> int:
        """Number of columns, D."""
        return sum(SETS[name][0](self) for name in self.sets)


def voice_steps(config: VoiceDescriptorsConfig, num_samples: int) -> int:
    """Number of steps T of that many samples: one at the first sample and one after each hop; none without samples."""
    return 1 + num_samples // config.hop if num_samples else 0


def describe_voice(config: VoiceDescriptorsConfig, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes descriptors of each step of a recording, from windows centred at `t * hop`, with zeros outside of it.

    Columns of each set:
        mfcc: cepstral coefficients of the mel spectrum in dB.
        mfcc_delta: their slope a step.
        log_mel: the mel spectrum, natural logarithm.
        energy: natural logarithm of the root mean square.
        f0: natural logarithm of the fundamental frequency in Hz (YIN; de Cheveigné and Kawahara, 2002), and voicing:
            the correlation of neighbouring periods, -1 to 1 (RAPT's normalised cross-correlation; Talkin, 1995). The
            frequency means little where voicing is low.
        spectral: natural logarithms of centroid, bandwidth and rolloff (1 + Hz) and of flatness; zero-crossing rate.

    Args:
        config: which sets, and how.
        samples: int16 [S] at 16 kHz, valid ones only; any number.

    Returns:
        float32 [T, D] descriptors and float32 [T] seconds of the centre of each step, T = `voice_steps(config, S)`.

    Raises:
        ValueError: samples of another type or rank.
    """
    if samples.dtype != np.int16 or samples.ndim != 1:
        raise ValueError(f"samples are {samples.dtype} {list(samples.shape)}; expected int16 [S]")
    steps = voice_steps(config, len(samples))
    times = (np.arange(steps) * (config.hop / SAMPLE_RATE)).astype(np.float32)
    if not steps:
        return np.zeros((0, config.hidden_size), np.float32), times
    recording = _Recording(config, samples)
    columns = [SETS[name][1](recording)[:, :steps] for name in config.sets]
    return np.ascontiguousarray(np.concatenate(columns).T, dtype=np.float32), times


class _Recording:
    """One recording; what several sets need is computed once."""

    def __init__(self, config: VoiceDescriptorsConfig, samples: np.ndarray) -> None:
        self.config = config
        missing = max(0, config.n_fft - len(samples))  # librosa warns about recordings that are shorter than a window
        self.signal = np.pad(samples.astype(np.float32) / 32768, (0, missing))

    @functools.cached_property
    def magnitude(self) -> np.ndarray:
        return np.abs(librosa.stft(self.signal, n_fft=self.config.n_fft, hop_length=self.config.hop))

    @functools.cached_property
    def mel(self) -> np.ndarray:
        filters = _mel_filters(self.config.n_fft, self.config.n_mels)
        return np.einsum("mf,ft->mt", filters, self.magnitude**2)  # BLAS's threads would wait for busy processors

    @functools.cached_property
    def mfcc(self) -> np.ndarray:
        return librosa.feature.mfcc(S=librosa.power_to_db(self.mel), n_mfcc=self.config.n_mfcc)

    def mfcc_delta(self) -> np.ndarray:
        return librosa.feature.delta(self.mfcc, width=DELTA_WIDTH, mode="nearest")

    def log_mel(self) -> np.ndarray:
        return np.log(self.mel + FLOOR**2)

    def energy(self) -> np.ndarray:
        size, hop = self.config.n_fft, self.config.hop
        return np.log(librosa.feature.rms(y=self.signal, frame_length=size, hop_length=hop) + FLOOR)

    def f0(self) -> np.ndarray:
        size = self.config.f0_frame
        frames = librosa.util.frame(np.pad(self.signal, size // 2), frame_length=size, hop_length=self.config.hop)
        frequency = librosa.yin(
            self.signal,
            fmin=self.config.f0_min,
            fmax=self.config.f0_max,
            sr=SAMPLE_RATE,
            frame_length=size,
            hop_length=self.config.hop,
        )
        return np.stack([np.log(frequency), _periodicity(frames, SAMPLE_RATE / frequency)])

    def spectral(self) -> np.ndarray:
        magnitude, size, hop = self.magnitude, self.config.n_fft, self.config.hop
        centroid = librosa.feature.spectral_centroid(S=magnitude, sr=SAMPLE_RATE)
        bandwidth = librosa.feature.spectral_bandwidth(S=magnitude, sr=SAMPLE_RATE, centroid=centroid)
        rolloff = librosa.feature.spectral_rolloff(S=magnitude, sr=SAMPLE_RATE)
        flatness = librosa.feature.spectral_flatness(S=magnitude)
        crossings = librosa.feature.zero_crossing_rate(self.signal, frame_length=size, hop_length=hop)
        return np.concatenate([*(np.log1p(x) for x in (centroid, bandwidth, rolloff)), np.log(flatness), crossings])


SETS: dict[str, tuple[Callable[[VoiceDescriptorsConfig], int], Callable[[_Recording], np.ndarray]]] = {
    "mfcc": (lambda config: config.n_mfcc, lambda recording: recording.mfcc),
    "mfcc_delta": (lambda config: config.n_mfcc, _Recording.mfcc_delta),
    "log_mel": (lambda config: config.n_mels, _Recording.log_mel),
    "energy": (lambda config: 1, _Recording.energy),
    "f0": (lambda config: 2, _Recording.f0),
    "spectral": (lambda config: 5, _Recording.spectral),
}
"""Each set's number of columns and its function, which returns [columns, steps]."""


@functools.lru_cache(maxsize=8)
def _mel_filters(n_fft: int, n_mels: int) -> np.ndarray:
    """Mel filters, float32 [n_mels, 1 + n_fft / 2]."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Empty filters detected", UserWarning)  # the config refuses them by name
        return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=n_fft, n_mels=n_mels)


def _periodicity(frames: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """Normalised correlation of each frame with itself one period later.

    Args:
        frames: float32 [samples, steps].
        periods: float [steps], in samples, rounded here; shorter than a frame.

    Returns:
        float [steps], -1 to 1; 0 in silence.
    """
    places = np.arange(len(frames))[:, None] + np.rint(periods).astype(int)
    later = np.take_along_axis(frames, np.minimum(places, len(frames) - 1), axis=0) * (places < len(frames))
    now = frames * (places < len(frames))
    power = np.sqrt(np.sum(now**2, axis=0) * np.sum(later**2, axis=0))
    return np.sum(now * later, axis=0) / (power + FLOOR**2)
