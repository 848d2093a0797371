import numpy as np
import pytest

from data_prep.clips.alignment import TEMPLATE, Square
from data_prep.clips.faces import Box, Face, as_face
from data_prep.clips.placement import place_crops
from data_prep.clips.tracks import find_tracks, people


def tracks_of(*pictures, seconds=None):
    """The boxes of each track by picture, of pictures with boxes or faces."""
    faces = [[found if isinstance(found, Face) else Face(found) for found in picture] for picture in pictures]
    times = np.arange(len(faces)) / 25 if seconds is None else np.array(seconds)
    return [{n: face.box for n, face in track.items()} for track in find_tracks(faces, times)]


def placed(boxes, count):
    return place_crops({n: Face(box) for n, box in boxes.items()}, np.arange(count) / 25, aligned=True)


def test_detectors_may_return_plain_tuples():
    assert as_face((1, 2, 30)).scaled(2) == Face(Box(2, 4, 60))
    face = as_face(Face((1, 2, 30), [[n, 10 * n] for n in range(5)], 0.5)).scaled(2)
    assert (face.box, face.score) == (Box(2, 4, 60), 0.5)
    np.testing.assert_array_equal(face.landmarks, [[2 * n, 20 * n] for n in range(5)])


def test_each_of_two_people_keeps_a_track():
    large = [Box(10 + n, 20, 50) for n in range(6)]
    small = [Box(120 - n, 20, 30) for n in range(6)]
    found = tracks_of(*([b, a] for a, b in zip(large, small, strict=True)))
    assert found == [dict(enumerate(large)), dict(enumerate(small))]


def test_people_who_pass_each_other_keep_their_tracks():
    left = [Box(10 * n, 0, 40) for n in range(12)]
    right = [Box(110 - 10 * n, 15, 52) for n in range(12)]
    found = tracks_of(*([a, b] if n % 2 else [b, a] for n, (a, b) in enumerate(zip(left, right, strict=True))))
    assert found == [dict(enumerate(right)), dict(enumerate(left))]


def test_a_long_track_precedes_a_single_large_false_box():
    face = [[Box(20, 20, 40)] for _ in range(8)]
    face[3].append(Box(100, 0, 160))
    assert [len(track) for track in tracks_of(*face)] == [8, 1]


def test_detector_scores_weigh_the_tracks():
    pictures = [[Face(Box(0, 0, 50), score=0.6), Face(Box(200, 0, 40), score=0.95)] for _ in range(5)]
    assert tracks_of(*pictures)[0][0] == Box(200, 0, 40)


def test_a_hidden_face_keeps_its_track():
    box = Box(50, 50, 40)
    (track,) = tracks_of([box], [box], *[[]] * 40, [Box(110, 60, 38)])
    assert sorted(track) == [0, 1, 42]


def test_a_face_elsewhere_in_the_next_picture_is_another_one():
    assert len(tracks_of([Box(0, 0, 40)], [Box(200, 0, 40)])) == 2
    assert len(tracks_of([Box(0, 0, 40)], [Box(200, 0, 40)], seconds=[0, 3])) == 1


def test_much_smaller_box_is_not_the_same_face():
    assert [sorted(track) for track in tracks_of([Box(0, 0, 60)], [Box(5, 5, 20)])] == [[0], [1]]


def test_a_face_that_is_found_twice_is_one_track():
    assert tracks_of(*[[Box(10, 10, 60), Box(20, 22, 34)]] * 3) == [{n: Box(10, 10, 60) for n in range(3)}]


def test_clip_without_any_face_has_no_tracks():
    assert tracks_of([], []) == []


def test_people_are_tracks_that_last():
    box = Face(Box(0, 0, 40))
    lasting, brief, single = dict.fromkeys(range(30), box), dict.fromkeys(range(4), box), {7: box}
    assert people([lasting, brief, single], 20) == [lasting, brief]
    assert people([lasting, brief, single], 30) == [lasting]
    assert people([single], 40) == [single]
    assert people([], 40) == []


def test_lost_face_keeps_its_last_position():
    places = placed({1: Box(0, 0, 40), 3: Box(4, 0, 40)}, 5)
    assert [place.x for place in places] == [0, 0, 0, 4, 4]


def test_sizes_are_smoothed_around_the_same_centres():
    boxes = placed({0: Box(0, 0, 40), 1: Box(-5, -5, 50), 2: Box(0, 0, 40)}, 3)
    assert max(box.side for box in boxes) - min(box.side for box in boxes) < 5
    for box in boxes:
        assert box.centre == pytest.approx((20, 20))


def test_crops_turn_with_the_landmarks_on_request():
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    face = Face(Box(30, 30, 50), (TEMPLATE - 0.5) @ turn.T * 60 + (55, 50))
    (square,) = place_crops({0: face}, np.zeros(1), aligned=True)
    assert isinstance(square, Square)
    assert square == pytest.approx((55, 50, 60, np.arctan2(0.6, 0.8)))
    assert place_crops({0: face}, np.zeros(1), aligned=False) == [face.box]
