import numpy as np
import pytest

from data_prep.media.levels import as_float, as_int16, finite, mix
from data_prep.media.remarks import CANCELLING, MIXED, SILENT, TOO_LOUD

VOICE = np.sin(np.arange(16_000) * 0.2).astype(np.float32)
RNG = np.random.default_rng(0)


def kinds(remarks):
    return [remark.kind for remark in remarks]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([-32768, 0, 16384], np.int16), [-1, 0, 0.5]),
        (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
        (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
        (np.array([-4.0, 0, 1e300]), [-4, 0, np.inf]),
    ],
)
def test_full_scale_is_one(samples, expected):
    np.testing.assert_array_equal(as_float(samples), np.array(expected, np.float32))


def test_samples_that_are_not_finite_become_zero():
    samples, count = finite(np.array([[1, np.nan, -np.inf, 2]], np.float32))
    np.testing.assert_array_equal(samples, [[1, 0, 0, 2]])
    assert count == 2


def test_stereo_is_mixed_to_its_mean():
    (mono,), remarks = mix([np.stack([VOICE, 0.5 * VOICE])], ["FL", "FR"])
    np.testing.assert_allclose(mono, 0.75 * VOICE, atol=1e-6)
    assert not remarks


def test_a_silent_channel_does_not_weaken_the_other():
    (mono,), _ = mix([np.stack([0 * VOICE, VOICE])], ["FL", "FR"])
    np.testing.assert_allclose(mono, VOICE, atol=1e-6)


@pytest.mark.parametrize("second", [-VOICE, -VOICE + 0.05 * RNG.standard_normal(16_000).astype(np.float32)])
def test_cancelling_channels_are_replaced_by_the_loudest(second):
    (mono,), remarks = mix([np.stack([1.01 * VOICE, second])], ["FL", "FR"])
    np.testing.assert_allclose(mono, 1.01 * VOICE, atol=1e-6)
    assert kinds(remarks) == [CANCELLING]


def test_independent_channels_do_not_cancel():
    noise = RNG.standard_normal((16, 16_000)).astype(np.float32)
    (mono,), remarks = mix([noise], ["NONE"] * 16)
    np.testing.assert_allclose(mono, noise.mean(0), atol=1e-5)
    assert kinds(remarks) == [MIXED]


def test_the_centre_outweighs_the_sides_and_bass_is_left_out():
    names = ["FL", "FR", "FC", "LFE", "BL", "BR"]
    channels = np.eye(6, dtype=np.float32).repeat(100, 1)
    (mono,), _ = mix([channels], names)
    weights = mono[::100]
    np.testing.assert_allclose(weights / weights[2], [0.7071, 0.7071, 1, 0, 0.5, 0.5], atol=1e-4)
    assert weights.sum() == pytest.approx(1)


def test_channels_are_weighted_over_all_pieces():
    pieces = [np.stack([VOICE, -VOICE]), np.stack([VOICE, -VOICE])[:, :10]]
    mixed, remarks = mix(pieces, ["FL", "FR"])
    assert [len(piece) for piece in mixed] == [16_000, 10]
    np.testing.assert_allclose(mixed[1], VOICE[:10])
    assert kinds(remarks) == [CANCELLING]


def test_a_loud_voice_is_scaled_and_not_clipped():
    audio, remarks = as_int16(4 * VOICE)
    np.testing.assert_allclose(audio, 32_768 * VOICE / np.abs(VOICE).max(), atol=1.5)
    assert kinds(remarks) == [TOO_LOUD]


def test_floats_in_the_range_of_integers_are_scaled():
    audio, remarks = as_int16(20_000 * VOICE)
    assert np.abs(audio.astype(int)).max() >= 32_767
    assert kinds(remarks) == [TOO_LOUD]


def test_single_spike_does_not_silence_the_voice():
    samples = VOICE.copy()
    samples[100] = 1e20
    audio, remarks = as_int16(samples)
    np.testing.assert_allclose(audio[200:], 32_767 * VOICE[200:], atol=2)
    assert kinds(remarks) == [TOO_LOUD]


def test_int16_survives_unchanged():
    samples = RNG.integers(-32_768, 32_768, 1_000).astype(np.int16)
    np.testing.assert_array_equal(as_int16(as_float(samples))[0], samples)


def test_inaudible_sound_is_empty():
    audio, remarks = as_int16(VOICE * 15 / 32_768)
    assert len(audio) == 0
    assert kinds(remarks) == [SILENT]
    assert len(as_int16(VOICE * 17 / 32_768)[0]) == 16_000
    assert not as_int16(np.zeros(0, np.float32))[1]


def test_constant_offset_is_removed_and_counts_as_silence_if_alone():
    tone = 0.1 * np.sin(np.arange(16_000) / 5).astype(np.float32)
    audio, remarks = as_int16(tone + np.float32(0.25))
    np.testing.assert_allclose(audio, np.rint(32768 * (tone - tone.mean())), atol=2)
    assert [remark.kind for remark in remarks] == ["constant offset of the sound; removed"]
    audio, remarks = as_int16(np.full(16_000, 0.25, np.float32))
    assert len(audio) == 0
    assert [remark.kind for remark in remarks] == ["no audible sample; sound counts as absent"]
