"""Corrupted steps are known exactly: clean steps are unchanged, all others have changed."""

import numpy as np
import pytest

from emi_jax.inputs import corruption


@pytest.mark.parametrize("seed", range(12))
def test_faces_change_exactly_where_they_are_not_clean(seed):
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (7, 24, 24, 3), dtype=np.uint8)
    mask = np.array([0, 1, 1, 0, 1, 1, 0], bool)
    corrupted, clean = corruption.corrupt_faces(rng, frames, mask)
    changed = (corrupted != frames).any((1, 2, 3))
    assert corrupted.dtype == np.uint8
    assert not clean.all()
    np.testing.assert_array_equal(changed, ~clean)
    assert clean[[0, 6]].all()  # never outside the clip's valid steps


@pytest.mark.parametrize("seed", range(12))
def test_voice_changes_only_where_it_is_not_clean(seed):
    rng = np.random.default_rng(seed)
    audio = (8000 * np.sin(np.arange(6000) / 9)).astype(np.int16)
    mask = np.arange(6000) < 5000
    corrupted, clean = corruption.corrupt_voice(rng, audio, mask)
    np.testing.assert_array_equal(corrupted[clean], audio[clean])
    assert (corrupted != audio)[~clean].mean() > 0.9
    assert clean[5000:].all()
    assert 0.25 * 5000 - 1 <= (~clean).sum() <= 5000


def test_noise_has_the_signal_to_noise_ratio_that_was_drawn(monkeypatch):
    monkeypatch.setattr(corruption, "SNR_DB", (10.0, 10.0))
    audio = (8000 * np.sin(np.arange(16000) / 9)).astype(np.int16)
    ratios = []
    for seed in range(30):
        corrupted, clean = corruption.corrupt_voice(np.random.default_rng(seed), audio, np.ones(16000, bool))
        noise = (corrupted.astype(float) - audio)[~clean]
        if np.abs(corrupted[~clean]).max():  # not a drop-out
            ratios.append(10 * np.log10(np.mean(audio.astype(float) ** 2) / np.mean(noise**2)))
    assert len(ratios) > 10
    np.testing.assert_allclose(ratios, 10.0, atol=0.3)


@pytest.mark.parametrize("seed", range(8))
def test_only_words_are_masked(seed):
    rng = np.random.default_rng(seed)
    tokens, words = np.arange(10, 20, dtype=np.int32), np.array([0, 1, 1, 1, 1, 1, 0, 0, 0, 0], bool)
    corrupted, clean = corruption.corrupt_words(rng, tokens, words, mask_token=4)
    np.testing.assert_array_equal(corrupted == 4, ~clean)
    np.testing.assert_array_equal(corrupted[clean], tokens[clean])
    assert clean[~words].all()


def test_silence_does_not_count_as_audible():
    audio = np.zeros(16000, np.int16)
    audio[4800:9600] = (8000 * np.sin(np.arange(4800) / 9)).astype(np.int16)
    mask = np.arange(16000) < 12000
    supervised = corruption.audible(audio, mask)
    assert supervised[5200:9200].all()
    assert not supervised[:4000].any()
    assert not supervised[10400:].any()
    assert not corruption.audible(np.zeros(16000, np.int16), mask).any()


def test_without_valid_steps_nothing_is_corrupted():
    rng = np.random.default_rng(0)
    frames = np.full((3, 8, 8, 3), 7, np.uint8)
    corrupted, clean = corruption.corrupt_faces(rng, frames, np.zeros(3, bool))
    np.testing.assert_array_equal(corrupted, frames)
    assert clean.all()
