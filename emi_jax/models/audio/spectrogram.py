"""The front ends of encoders that read spectrograms: Whisper's log-mel and Kaldi's filter banks, from the waveform."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from emi_jax.modalities import SAMPLE_RATE
from emi_jax.models.audio.steps import count_true

WIDTH, HOP = 400, 160
"""Samples in a frame and between frames, of both front ends: 25 and 10 ms."""
_KALDI_FFT, _KALDI_BINS, _KALDI_LOWEST = 512, 80, 20.0


def log_mel(waveform: jax.Array, num_bins: int) -> jax.Array:
    """Whisper's log-mel spectrogram (Radford et al. 2023, 2.2), as `transformers.WhisperFeatureExtractor` computes it.

    Frames are centred at 0, 10, 20 ... ms. Magnitudes more than 8 decades below the largest of the clip are raised to
    there, so that values depend on the whole clip.

    Args:
        waveform: float `[B, S]` at 16 kHz, S a multiple of `HOP`; zeros on padding.
        num_bins: mel bands M.

    Returns:
        float32 `[B, S / HOP, M]`.
    """
    padded = jnp.pad(waveform, ((0, 0), (WIDTH // 2, WIDTH // 2)), mode="reflect")
    frames = cut(padded, WIDTH, HOP)[:, : waveform.shape[1] // HOP]
    window = np.hanning(WIDTH + 1)[:-1].astype(np.float32)
    power = _power(frames * window[None, None], WIDTH)
    decades = jnp.log10(jnp.maximum(_weighted(power, _slaney_filters(num_bins)), 1e-10))
    return (jnp.maximum(decades, decades.max(axis=(1, 2), keepdims=True) - 8.0) + 4.0) / 4.0


def kaldi_filter_banks(waveform: jax.Array, mask: jax.Array) -> jax.Array:
    """Kaldi's log filter banks, normalised by clip and band, as `transformers.SeamlessM4TFeatureExtractor` does it.

    Args:
        waveform: float `[B, S]` at 16 kHz, full scale 1.
        mask: bool `[B, S]`, True = a sample. Frames that hold anything else do not take part in the normalisation.

    Returns:
        float32 `[B, (S - WIDTH) // HOP + 1, 80]`.
    """
    frames = cut(jnp.where(mask, waveform, 0.0) * 32768.0, WIDTH, HOP)
    frames = frames - frames.mean(axis=2, keepdims=True)
    before = jnp.concatenate([frames[..., :1], frames[..., :-1]], axis=2)
    povey = (np.hanning(WIDTH) ** 0.85).astype(np.float32)
    power = _power((frames - 0.97 * before) * povey[None, None], _KALDI_FFT)
    bands = jnp.log(jnp.maximum(_weighted(power, _kaldi_filters()), np.finfo(np.float32).eps))
    valid = (count_true(mask, WIDTH, HOP) == WIDTH)[:, :, None]
    count = valid.sum(axis=1, keepdims=True)
    centred = bands - jnp.where(valid, bands, 0.0).sum(axis=1, keepdims=True) / jnp.maximum(count, 1)
    variance = jnp.where(valid, jnp.square(centred), 0.0).sum(axis=1, keepdims=True) / jnp.maximum(count - 1, 1)
    return centred * jax.lax.rsqrt(variance + 1e-7)


def cut(x: jax.Array, width: int, hop: int) -> jax.Array:
    """Cuts x `[B, S]` into frames `[B, (S - width) // hop + 1, width]`."""
    frames, parts = (x.shape[1] - width) // hop + 1, -(-width // hop)
    length = (frames + parts - 1) * hop
    x = jnp.pad(x[:, :length], ((0, 0), (0, max(length - x.shape[1], 0)))).reshape(x.shape[0], -1, hop)
    return jnp.concatenate([x[:, part : part + frames] for part in range(parts)], axis=2)[:, :, :width]


def _power(frames: jax.Array, length: int) -> jax.Array:
    spectrum = jnp.fft.rfft(frames, length, axis=2)
    return jnp.square(spectrum.real) + jnp.square(spectrum.imag)


def _weighted(power: jax.Array, filters: np.ndarray) -> jax.Array:
    return jnp.einsum("btf,fm->btm", power, filters, precision=jax.lax.Precision.HIGHEST)


@functools.cache
def _slaney_filters(num_bins: int) -> np.ndarray:
    import librosa  # imported on use: it takes a while

    filters = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WIDTH, n_mels=num_bins, fmin=0.0, fmax=8000.0)
    return np.ascontiguousarray(filters.T, np.float32)


@functools.cache
def _kaldi_filters() -> np.ndarray:
    """Triangles of equal width on the mel scale, `[257, 80]`."""
    mel = 1127.0 * np.log1p(np.arange(_KALDI_FFT // 2 + 1) * SAMPLE_RATE / _KALDI_FFT / 700.0)
    lowest, highest = 1127.0 * np.log1p(np.array([_KALDI_LOWEST, SAMPLE_RATE / 2]) / 700.0)
    edges = np.linspace(lowest, highest, _KALDI_BINS + 2)
    width = edges[1] - edges[0]
    return np.maximum(0.0, 1.0 - np.abs(mel[:, None] - edges[None, 1:-1]) / width).astype(np.float32)
