import cv2
import numpy as np
import pytest

from data_prep.clips.alignment import Square
from data_prep.clips.crops import centre_of, cut, landmarks_in_crop
from data_prep.clips.faces import Box


def test_crop_cuts_the_box_with_its_margin():
    picture = np.zeros((100, 120, 3), np.uint8)
    picture[40:60, 50:70] = 200
    assert cut(picture, Box(50, 40, 20), 20, 0.0).min() == 200
    wide = cut(picture, Box(50, 40, 20), 40, 0.5)
    assert wide[:9].max() == 0
    assert wide[11:29, 11:29].min() == 200


@pytest.mark.parametrize("place", [Box(-20, 30, 40), Square(0, 50, 40, 0.4), Square(500, -300, 40, 1.0)])
def test_crop_beyond_the_edge_repeats_it(place):
    picture = np.full((50, 50, 3), 90, np.uint8)
    assert np.all(cut(picture, place, 16, 0.2) == 90)


def test_crop_without_a_face_uses_the_centre():
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 20:60] = 255
    assert cut(picture, None, 24, 0.3).min() == 255
    assert centre_of(picture) == Box(20, 0, 40)


def dot_picture(points, size=(240, 320)):
    """A dark picture with a bright Gaussian dot at each point, where pixel k covers k to k + 1."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    light = sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / 18) for px, py in points)
    return np.repeat((255 * np.clip(light, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)


@pytest.mark.parametrize("size", [40, 100, 300])
@pytest.mark.parametrize("place", [Box(80, 60, 120), Square(150, 120, 110, 0.5), Square(150, 120, 110, -2.0)])
def test_landmarks_lie_in_the_crop_where_they_are_seen(place, size):
    for point in (np.array([130.0, 100.0]), np.array([171.0, 139.0])):
        crop = cut(dot_picture([point]), place, size, 0.1)[..., 0].astype(float)
        centre = [(crop * (grid + 0.5)).sum() / crop.sum() for grid in np.mgrid[:size, :size][::-1]]
        np.testing.assert_allclose(landmarks_in_crop(point[None], place, 0.1)[0], np.array(centre) / size, atol=0.01)


def test_a_turned_square_that_is_not_turned_gives_the_crop_of_a_box():
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8), (0, 0), 4)
    for size in (32, 160):
        straight, turned = (cut(picture, place, size, 0.0) for place in (Box(60, 40, 80), Square(100, 80, 80, 0.0)))
        assert np.abs(straight.astype(int) - turned).max() <= 4


def test_reducing_a_turned_square_averages_over_areas():
    """A chequerboard of single pixels becomes even grey, and no pattern of the pixels that a warp happens to read."""
    board = 255 * (np.indices((400, 400)).sum(0) % 2).astype(np.uint8)
    crop = cut(np.repeat(board[..., None], 3, axis=2), Square(200, 200, 300, 0.3), 30, 0.0)
    assert np.abs(crop.astype(int) - 127).max() <= 2
