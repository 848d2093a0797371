"""Steps of audio encoders: which samples they hear, which of them are valid, and when they are."""

import numpy as np
import pytest

from emi_jax.models.audio.steps import Steps

CENTRED = Steps(width=1040, stride=320, centred=True)


def test_centred_steps_are_valid_where_their_centre_is():
    mask = np.arange(3200)[None] < np.array([3200, 1601, 1600, 1, 0])[:, None]
    valid = np.asarray(CENTRED.mask(mask))
    assert valid.shape == (5, CENTRED.count(3200)) == (5, 10)
    assert valid.sum(1).tolist() == [10, 6, 5, 1, 0]
    assert CENTRED.count(3201) == 11
    assert CENTRED.count(1) == CENTRED.min_samples == 1


@pytest.mark.parametrize("samples", [1, 300, 1040, 3200, 3201, 5000])
def test_centred_steps_share_flags_among_the_samples_of_the_clip_that_they_hear(samples):
    flags = np.random.default_rng(0).random((2, samples)) < 0.3
    share = np.asarray(CENTRED.share(flags))
    for step in range(CENTRED.count(samples)):
        heard = flags[:, max(step * 320 - 520, 0) : step * 320 + 520]
        np.testing.assert_allclose(share[:, step], heard.mean(1), rtol=1e-6)


def test_the_time_of_a_step_is_the_middle_of_what_it_hears():
    np.testing.assert_allclose(Steps(400, 320).seconds(3), [0.0125, 0.0325, 0.0525])
    np.testing.assert_allclose(CENTRED.seconds(3), [0.0, 0.02, 0.04])
