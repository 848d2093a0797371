"""Windows are cut from clips and from pieces of clips at the right seconds, whatever the pieces are."""

import itertools

import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.inputs.pieces import Piece
from emi_jax.inputs.windows import Cutter, Windows, length

RATE = 16_000
SECONDS = 4.3


def make_clip(seconds=SECONDS, **changes):
    """A clip whose samples count milliseconds and whose pictures, ten per second, are named by their number."""
    times = np.arange(0, seconds, 0.1, dtype=np.float32)
    clip = {
        "id": "a",
        "faces": [str(number).encode() for number in range(len(times))],
        "times": times,
        "face_found": np.arange(len(times)) % 2 == 0,
        "landmarks": np.tile(times[:, None, None], (1, 5, 2)),
        "audio": (np.arange(round(seconds * RATE)) * 1000 // RATE).astype(np.int16) * np.int16(7),
        "transcript": "one two three four",
        "word_times": np.array([(0.1, 0.5), (0.8, 1.4), (2.0, 2.2), (4.0, 4.2)], np.float32),
        "labels": np.zeros(0, np.float32),
        "subject": "",
    }
    return clip | changes


def in_pieces(clip, edges):
    """The clip as the reader of long clips gives it."""
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        inside = (clip["times"] >= start) & (clip["times"] < end)
        first = number == 0
        yield {
            **clip,
            **{name: clip[name][inside] for name in ("times", "face_found", "landmarks")},
            "faces": [face for face, kept in zip(clip["faces"], inside, strict=True) if kept],
            "audio": clip["audio"][round(start * RATE) : round(end * RATE)],
            "transcript": clip["transcript"] if first else "",
            "word_times": clip["word_times"] if first else np.zeros((0, 2), np.float32),
            "piece": Piece(start, end, end == edges[-1], length(clip)),
        }


def cut(windows, pieces):
    cutter = Cutter(windows)
    return [window for piece in pieces for window in cutter.add(piece)]


def spans(windows, seconds):
    found = cut(windows, [make_clip(seconds, transcript="", word_times=np.zeros((0, 2)))])
    assert [window.last for window in found] == [False] * (len(found) - 1) + [True]
    return [(round(window.start, 6), round(window.end, 6)) for window in found]


def test_windows_lie_on_the_grid_and_the_last_one_ends_with_the_clip():
    assert spans(Windows(2, 1), 4.0) == [(0, 2), (1, 3), (2, 4)]
    assert spans(Windows(2, 1), 4.5) == [(0, 2), (1, 3), (2, 4), (2.5, 4.5)]
    assert spans(Windows(2, 2), 5.0) == [(0, 2), (2, 4), (3, 5)]
    assert spans(Windows(2, 2), 4.05) == [(0, 2), (2, 4)]  # the filling of a codec's last packet
    assert spans(Windows(2, 2), 1.5) == [(0, 1.5)]
    assert spans(Windows(0.5, 0.05), 0.6) == [(0, 0.5), (0.05, 0.55), (0.1, 0.6)]


def test_a_window_holds_what_lies_between_its_ends():
    first, second, third = cut(Windows(2, 2), [make_clip()])
    assert (first.start, second.start, third.start) == (0, 2, pytest.approx(2.3))
    assert second.example["faces"] == [str(number).encode() for number in range(20, 40)]
    np.testing.assert_allclose(second.example["times"], np.arange(20) / 10, atol=1e-6)
    np.testing.assert_allclose(second.example["landmarks"][:, 0, 0], 2 + np.arange(20) / 10, atol=1e-6)
    assert second.example["face_found"].tolist() == [True, False] * 10
    np.testing.assert_array_equal(second.example["audio"], make_clip()["audio"][2 * RATE : 4 * RATE])
    assert [window.example["transcript"] for window in (first, second, third)] == ["one two", "three", "four"]
    np.testing.assert_allclose(second.example["word_times"], [(0, 0.2)], atol=1e-6)
    np.testing.assert_array_equal(third.example["audio"], make_clip()["audio"][-2 * RATE :])


@pytest.mark.parametrize("edges", [[0, 1, 2, 3, 4, 5], [0, 0.7, 4.3], [0, 3, 6]])
@pytest.mark.parametrize("windows", [Windows(2, 1), Windows(1.5, 1.5), Windows(0.4, 0.25)])
def test_pieces_give_the_windows_of_the_whole_clip(edges, windows):
    whole, pieces = cut(windows, [make_clip()]), cut(windows, in_pieces(make_clip(), edges))
    assert len(whole) == len(pieces)
    for one, other in zip(whole, pieces, strict=True):
        assert one[:3] == other[:3]
        assert one.example.keys() == other.example.keys()
        for name, value in one.example.items():
            np.testing.assert_array_equal(value, other.example[name], err_msg=name)


def test_a_cutter_holds_no_more_than_a_window_and_a_piece():
    cutter, pieces = Cutter(Windows(2, 1)), in_pieces(make_clip(200.0), list(range(201)))
    for piece in pieces:
        for _ in cutter.add(piece):
            assert len(cutter._held["audio"]) <= 3 * RATE
            assert len(cutter._held["faces"]) <= 31


def test_words_without_times_are_spread_over_the_clip():
    clip = make_clip(4.0, word_times=np.zeros((0, 2), np.float32))
    for pieces in ([clip], in_pieces(clip, [0, 1, 2, 3, 4])):
        cutter = Cutter(Windows(2, 2))
        found = [window for piece in pieces for window in cutter.add(piece)]
        assert [window.example["transcript"] for window in found] == ["one two", "three four"]
        np.testing.assert_allclose(found[1].example["word_times"], [(0, 1), (1, 2)])
        assert cutter.untimed


def test_silence_counts_as_no_sound():
    clip = make_clip(4.0)
    clip["audio"][: 2 * RATE] = 3
    first, second = cut(Windows(2, 2), [clip])
    assert (len(first.example["audio"]), len(second.example["audio"])) == (0, 2 * RATE)


def test_a_gap_between_pieces_is_silence():
    pieces = list(in_pieces(make_clip(4.0), [0, 1, 2, 3, 4]))
    pieces[1]["audio"] = pieces[1]["audio"][:0]
    (window,) = cut(Windows(4, 4), pieces)
    assert not window.example["audio"][RATE : 2 * RATE].any()
    np.testing.assert_array_equal(window.example["audio"][2 * RATE :], make_clip(4.0)["audio"][2 * RATE :])


def test_features_of_ones_own_are_cut_by_their_times():
    own = {"audio_features": np.arange(8)[:, None], "audio_feature_times": np.arange(8, dtype=np.float32) / 2}
    clip = make_clip(4.0, audio=np.zeros(0, np.int16), **own)
    first, second = cut(Windows(2, 2), [clip])
    assert first.example["audio_features"].ravel().tolist() == [0, 1, 2, 3]
    assert second.example["audio_features"].ravel().tolist() == [4, 5, 6, 7]
    np.testing.assert_allclose(second.example["audio_feature_times"], [0, 0.5, 1, 1.5])


def test_other_people_have_windows_where_their_faces_are_found():
    clip = make_clip(4.0, person=np.repeat([1, 4], 20))
    frames = {name: clip[name][:25] for name in ("times", "faces", "landmarks")}
    other = {**frames, "face_found": np.arange(25) < 12, "faces": [b"other"] * 25}
    found = cut(Windows(1, 1), [clip | {"others": {2: other}}])
    assert [(w.start, w.person, w.other) for w in found] == [
        *[(0, 2, True), (0, 1, False), (1, 2, True), (1, 1, False)],
        *[(2, 4, False), (3, 4, False)],
    ]
    second = found[2].example
    assert second["faces"] == [b"other"] * 10
    assert second["face_found"].tolist() == [True] * 2 + [False] * 8
    np.testing.assert_allclose(second["times"], np.arange(10) / 10, atol=1e-6)
    np.testing.assert_array_equal(second["audio"], found[3].example["audio"])


@pytest.mark.parametrize(
    ("lengths", "message"),
    [((0, 1), "--window=0: expected"), ((2, -1), "--hop=-1: expected"), ((2, 3), "--hop=3 is longer than the window")],
)
def test_windows_that_would_skip_parts_are_refused(lengths, message):
    with pytest.raises(UserError, match=message):
        Windows(*lengths)
