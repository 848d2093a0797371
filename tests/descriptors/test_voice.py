"""Descriptors of the voice compared with librosa's functions and with signals whose values are known."""

import librosa
import numpy as np
import pytest

from emi_jax.descriptors.voice import SETS, VoiceDescriptorsConfig, describe_voice, voice_steps

RATE, HOP = 16000, 320
ALL = VoiceDescriptorsConfig(sets=tuple(SETS))


def tone(frequency: float, seconds: float, amplitude: float = 0.5) -> np.ndarray:
    wave = amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)
    return np.round(wave * 32767).astype(np.int16)


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=3000, size=round(seconds * RATE)).astype(np.int16)


def describe(name: str, samples: np.ndarray, **fields) -> np.ndarray:
    return describe_voice(VoiceDescriptorsConfig(sets=(name,), **fields), samples)[0]


@pytest.fixture(scope="module")
def voice():
    """A vowel-like sound that glides from 120 to 250 Hz between pauses of faint noise."""
    phase = 2 * np.pi * np.cumsum(np.linspace(120, 250, 24000)) / RATE
    sound = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.hanning(24000) * 4000
    return np.concatenate([noise(0.2) // 100, sound.astype(np.int16), noise(0.3) // 100])


def test_sets_equal_librosas_functions(voice):
    y = voice.astype(np.float32) / 32768
    frames = {"frame_length": 512, "hop_length": HOP}
    spectrum = {"y": y, "sr": RATE, "n_fft": 512, "hop_length": HOP}
    mfcc = librosa.feature.mfcc(**spectrum, n_mfcc=20, n_mels=40)
    shape = [np.log1p(getattr(librosa.feature, f"spectral_{name}")(**spectrum)) for name in ("centroid", "bandwidth")]
    expected = {
        "mfcc": mfcc,
        "mfcc_delta": librosa.feature.delta(mfcc, width=5, mode="nearest"),
        "log_mel": np.log(librosa.feature.melspectrogram(**spectrum, n_mels=40) + 1e-10),
        "energy": np.log(librosa.feature.rms(y=y, **frames) + 1e-5),
        "f0": np.log(librosa.yin(y, fmin=65, fmax=500, sr=RATE, frame_length=1024, hop_length=HOP))[None],
        "spectral": np.concatenate(
            [
                *shape,
                np.log1p(librosa.feature.spectral_rolloff(**spectrum)),
                np.log(librosa.feature.spectral_flatness(y=y, n_fft=512, hop_length=HOP)),
                librosa.feature.zero_crossing_rate(y, **frames),
            ]
        ),
    }
    for name, rows in expected.items():
        np.testing.assert_allclose(describe(name, voice)[:, : len(rows)], rows.T, rtol=1e-4, atol=1e-4, err_msg=name)


def test_sets_are_columns_in_the_order_of_the_config(voice):
    config = VoiceDescriptorsConfig(sets=("energy", "mfcc", "f0"))
    parts = [describe(name, voice) for name in config.sets]
    np.testing.assert_array_equal(describe_voice(config, voice)[0], np.concatenate(parts, axis=1))


@pytest.mark.parametrize("frequency", [80, 150, 420])
def test_tone_has_its_frequency_level_and_full_voicing(frequency):
    samples = tone(frequency, 0.5)
    f0 = describe("f0", samples)[4:-4]
    np.testing.assert_allclose(np.exp(f0[:, 0]), frequency, rtol=0.01)
    assert f0[:, 1].min() > 0.98
    np.testing.assert_allclose(describe("energy", samples)[4:-4], np.log(0.5 / np.sqrt(2)), atol=0.05)


def test_voicing_is_the_correlation_of_neighbouring_periods(voice):
    f0 = describe("f0", voice)
    for step in (20, 50, 70):
        frame = voice[step * HOP - 512 : step * HOP + 512].astype(float)
        period = round(RATE / np.exp(float(f0[step, 0])))
        now, later = frame[:-period], frame[period:]
        correlation = now @ later / np.sqrt(now @ now * (later @ later))
        assert f0[step, 1] == pytest.approx(correlation, abs=1e-3)


def test_noise_has_little_voicing():
    assert np.median(describe("f0", noise(1))[:, 1]) < 0.4


@pytest.mark.parametrize("samples", [0, 1, 319, 320, 511, 512, 640, 1601, 16000])
@pytest.mark.parametrize("hop_seconds", [0.02, 0.0333])
def test_steps_and_times_follow_from_the_number_of_samples(samples, hop_seconds):
    config = VoiceDescriptorsConfig(hop_seconds=hop_seconds, sets=tuple(SETS))
    described, times = describe_voice(config, noise(1)[:samples])
    hop = round(hop_seconds * RATE)
    expected = np.arange(0, samples + 1, hop) / RATE if samples else np.zeros(0)
    assert described.shape == (voice_steps(config, samples), config.hidden_size)
    assert described.dtype == times.dtype == np.float32
    assert np.isfinite(described).all()
    np.testing.assert_allclose(times, expected, rtol=1e-6)


def test_click_shows_in_the_step_at_its_time():
    samples = np.zeros(RATE, np.int16)
    samples[8000] = 20000
    config = VoiceDescriptorsConfig(sets=("energy",))
    described, times = describe_voice(config, samples)
    loud = times[described[:, 0] > described.min() + 1]
    assert abs(loud.mean() - 0.5) < 1e-6


@pytest.mark.parametrize("value", [0, 1, 32767, -32768])
def test_constant_sound_is_finite(value):
    assert np.isfinite(describe_voice(ALL, np.full(4000, value, np.int16))[0]).all()


def test_silence_has_no_voicing_and_the_lowest_energy():
    silence = np.zeros(4000, np.int16)
    np.testing.assert_array_equal(describe("f0", silence)[:, 1], 0)
    np.testing.assert_allclose(describe("energy", silence), np.log(1e-5), rtol=1e-6)


def test_description_is_deterministic_and_leaves_its_input_alone(voice):
    before = voice.copy()
    first, second = (describe_voice(ALL, voice)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(voice, before)


@pytest.mark.parametrize("samples", [np.zeros(100, np.float32), np.zeros((1, 100), np.int16)])
def test_other_types_and_ranks_are_refused(samples):
    with pytest.raises(ValueError, match=r"expected int16 \[S\]"):
        describe_voice(ALL, samples)
