"""Pictures are read at a fixed rate, whatever the frame rate of the clip."""

import numpy as np
import pytest

from emi_jax.inputs.frames import at_rate, in_crop


@pytest.mark.parametrize("fps", [12.0, 25.0, 29.97, 60.0])
def test_pictures_at_a_rate_are_the_nearest_to_equal_distances(fps):
    times = np.arange(0, 3, 1 / fps)
    chosen = times[at_rate(times, 7.5)]
    wanted = np.arange(0, times[-1] + 0.5 / 7.5, 1 / 7.5)
    assert len(chosen) == len(wanted)
    assert np.abs(chosen - wanted).max() <= 0.5 / fps + 1e-9


def test_slow_clips_give_all_their_pictures_once():
    times = np.array([0.0, 0.5, 1.1, 1.4])
    np.testing.assert_array_equal(at_rate(times, 7.5), np.arange(4))
    np.testing.assert_array_equal(at_rate(times, 0), np.arange(4))
    np.testing.assert_array_equal(at_rate(np.array([0.7]), 7.5), [0])
    assert at_rate(np.zeros(0), 7.5).size == 0


def test_landmarks_follow_the_crop_and_the_mirror():
    points = np.array([[[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]], np.float32)
    moved = in_crop(points, (0.2, 0.1, 0.8), flip=False)
    np.testing.assert_allclose(moved[0, 0], [(0.3 - 0.1) / 0.8, (0.4 - 0.2) / 0.8], rtol=1e-6)
    mirrored = in_crop(points, (0.0, 0.0, 1.0), flip=True)
    np.testing.assert_allclose(mirrored, points, atol=1e-6)  # a symmetric face is its own mirror image
