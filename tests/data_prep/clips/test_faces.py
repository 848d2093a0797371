import numpy as np
import pytest

from data_prep.clips.faces import Box, crop, track


def test_track_follows_the_largest_face_and_not_a_smaller_neighbour():
    large = [Box(10 + n, 20, 50) for n in range(6)]
    small = [Box(120, 20, 30) for _ in range(6)]
    boxes, found = track([[b, a] for a, b in zip(large, small, strict=True)])
    assert found.all()
    assert boxes == large


def test_lost_face_keeps_its_last_position():
    boxes, found = track([[], [Box(0, 0, 40)], [], [Box(4, 0, 40)], []])
    assert found.tolist() == [False, True, False, True, False]
    assert [box.x for box in boxes] == [0, 0, 0, 4, 4]


def test_much_smaller_box_is_not_the_face():
    _, found = track([[Box(0, 0, 60)], [Box(5, 5, 20)]])
    assert found.tolist() == [True, False]


def test_track_without_any_face_returns_no_boxes():
    boxes, found = track([[], []])
    assert boxes == []
    assert not found.any()


def test_sizes_are_smoothed_around_the_same_centres():
    candidates = [[Box(0, 0, 40)], [Box(-5, -5, 50)], [Box(0, 0, 40)]]
    boxes, _ = track(candidates)
    assert max(box.side for box in boxes) - min(box.side for box in boxes) < 5
    for box in boxes:
        assert (box.x + box.side / 2, box.y + box.side / 2) == pytest.approx((20, 20))


def test_crop_cuts_the_box_with_its_margin():
    picture = np.zeros((100, 120, 3), np.uint8)
    picture[40:60, 50:70] = 200
    assert crop(picture, Box(50, 40, 20), 20, 0.0).min() == 200
    wide = crop(picture, Box(50, 40, 20), 40, 0.5)
    assert wide[:9].max() == 0
    assert wide[11:29, 11:29].min() == 200


def test_crop_beyond_the_edge_repeats_it():
    picture = np.full((50, 50, 3), 90, np.uint8)
    assert np.all(crop(picture, Box(-20, 30, 40), 16, 0.2) == 90)


def test_crop_without_a_face_uses_the_centre():
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 20:60] = 255
    assert crop(picture, None, 24, 0.3).min() == 255
