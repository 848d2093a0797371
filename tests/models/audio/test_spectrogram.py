"""The front ends of encoders that read spectrograms, against the feature extractors of transformers."""

import jax
import numpy as np
import pytest
from transformers import SeamlessM4TFeatureExtractor, WhisperFeatureExtractor

from emi_jax.models.audio.spectrogram import kaldi_filter_banks, log_mel

RATE = 16_000


def make_voice(samples, seed=0):
    """A chirp with harmonics that fades, in noise that an int16 recording would have."""
    rng, time = np.random.default_rng(seed), np.arange(samples) / RATE
    tone = sum(np.sin(2 * np.pi * k * (120 * time + 200 * time**2)) / k for k in range(1, 9))
    return (0.2 * tone * np.exp(-time) + rng.normal(scale=1e-4, size=samples)).astype(np.float32)


@pytest.mark.parametrize("bins", [80, 128])
def test_log_mel_is_whispers(bins):
    clips = [make_voice(40_000), make_voice(12_345, seed=1), np.zeros(500, np.float32)]
    window = 48_000
    extractor = WhisperFeatureExtractor(feature_size=bins)
    features = extractor._np_extract_fbank_features(np.stack([np.pad(x, (0, window - len(x))) for x in clips]), "cpu")
    padded = np.stack([np.pad(clip, (0, window - len(clip))) for clip in clips])
    ours = np.asarray(jax.jit(log_mel, static_argnums=1)(padded, bins))
    assert ours.shape == (3, 300, bins)
    np.testing.assert_allclose(ours, features.transpose(0, 2, 1), atol=2e-4)


@pytest.mark.parametrize("samples", [560, 8000, 8160, 12_345])
def test_filter_banks_are_kaldis_and_do_not_depend_on_padding(samples):
    clip = make_voice(samples)
    expected = SeamlessM4TFeatureExtractor(padding_value=1)(clip, sampling_rate=RATE, return_tensors="np")
    steps = (samples - 560) // 320 + 1
    waveform = np.concatenate([clip, np.full(700, 0.5, np.float32)])[None]
    mask = np.arange(samples + 700)[None] < samples
    ours = np.asarray(jax.jit(kaldi_filter_banks)(waveform, mask))[0, : 2 * steps].reshape(steps, 160)
    assert expected["attention_mask"].sum() == steps
    np.testing.assert_allclose(ours, expected["input_features"][0, :steps], atol=2e-3)


def test_silence_and_absence_are_finite():
    waveform, mask = np.zeros((2, 1000), np.float32), np.array([[True], [False]]).repeat(1000, axis=1)
    assert np.isfinite(kaldi_filter_banks(waveform, mask)).all()
    assert np.isfinite(log_mel(np.zeros((1, 3200), np.float32), 80)).all()
