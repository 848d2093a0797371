import math

import cv2
import numpy as np
import pytest

from data_prep.clips.alignment import ARCFACE, TEMPLATE, Square, align, fit_similarity, smooth
from data_prep.clips.crops import landmarks_in_crop


def umeyama(source, target):
    """The similarity by singular value decomposition, as in Umeyama (1991), equations 40 to 42."""
    x, y = source - source.mean(0), target - target.mean(0)
    u, d, vt = np.linalg.svd(y.T @ x / len(source))
    sign = np.diag([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ sign @ vt
    scale = np.trace(np.diag(d) @ sign) / np.mean(np.sum(x**2, axis=1))
    return np.column_stack([scale * rotation, target.mean(0) - scale * rotation @ source.mean(0)])


def placed(angle, side, x, y):
    """The template's landmarks, in a square that is turned clockwise by an angle."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (TEMPLATE - 0.5) @ turn.T * side + (x, y)


@pytest.mark.parametrize("seed", range(5))
def test_similarity_equals_umeyamas(seed):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(2, 5, 2)) * 30 + 100
    np.testing.assert_allclose(fit_similarity(source, target), umeyama(source, target), rtol=1e-9)


def test_similarity_equals_opencvs_on_noisy_landmarks():
    noisy = placed(0.3, 90, 60, 50) + np.random.default_rng(0).normal(size=(5, 2))
    expected, _ = cv2.estimateAffinePartial2D(noisy, TEMPLATE, method=cv2.LMEDS, refineIters=100)
    turned = math.atan2(expected[1, 0], expected[0, 0])
    assert align(noisy).angle == pytest.approx(-turned, abs=0.05)


@pytest.mark.parametrize("angle", [-2.5, -0.4, 0.0, 0.35, 3.0])
def test_align_recovers_a_placed_square(angle):
    square = align(placed(angle, 80, 120, 45))
    assert square == pytest.approx((120, 45, 80, angle))
    np.testing.assert_allclose(landmarks_in_crop(placed(angle, 80, 120, 45), square, 0.0), TEMPLATE, atol=1e-9)


def test_margin_moves_the_landmarks_towards_the_centre():
    inside = landmarks_in_crop(placed(0.2, 80, 120, 45), Square(120, 45, 80, 0.2), 0.25)
    np.testing.assert_allclose(inside, 0.5 + (TEMPLATE - 0.5) / 1.5, atol=1e-9)


def test_template_has_the_shape_of_arcfaces():
    ratios = np.diff(TEMPLATE, axis=0) / np.diff(ARCFACE, axis=0)
    np.testing.assert_allclose(ratios, ratios[0, 0])
    assert TEMPLATE[1, 0] - TEMPLATE[0, 0] == pytest.approx(0.31, abs=1e-4)


def test_landmarks_that_coincide_give_no_square():
    assert align(np.full((5, 2), 7.0)) is None


def test_smoothing_removes_jitter_and_keeps_turns():
    seconds = np.arange(100) / 25
    rng = np.random.default_rng(1)
    angles = 3.0 + 0.5 * np.sin(2 * np.pi * 0.5 * seconds)  # passes beyond pi, where angles wrap around
    noisy = {
        n: Square(100 + rng.normal(), 80 + rng.normal(), 60 * np.exp(0.02 * rng.normal()), math.remainder(a, math.tau))
        for n, a in enumerate(angles)
    }
    steadied = smooth(noisy, seconds)
    rows, before = np.array([steadied[n] for n in range(100)]), np.array([noisy[n] for n in range(100)])
    assert np.all(np.std(np.diff(rows[:, :3], axis=0), 0) < 0.3 * np.std(np.diff(before[:, :3], axis=0), 0))
    np.testing.assert_allclose(np.unwrap(rows[:, 3])[5:-5], angles[5:-5], atol=0.03)


def test_smoothing_leaves_pictures_that_are_far_apart():
    squares = {n: Square(10.0 * n, 0.0, 50.0 + n, 0.1 * n) for n in range(5)}
    smoothed = smooth(squares, np.arange(5) * 0.5)
    assert smoothed == {n: pytest.approx(square) for n, square in squares.items()}


def test_part_of_a_square_turns_with_it():
    mouth = Square(100, 100, 40, math.pi / 2).part(0.5, 0.75, 0.5)
    assert mouth == pytest.approx((90, 100, 20, math.pi / 2))
