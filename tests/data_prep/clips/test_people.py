"""Clips with several people, and detectors of users: read through stand-ins for a detector."""

import dataclasses
import json

import av
import cv2
import numpy as np
import pytest

from data_prep.clips import vision
from data_prep.clips.alignment import TEMPLATE
from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.faces import Box, Face
from data_prep.clips.options import ClipOptions
from data_prep.clips.stretches import Stretch
from data_prep.clips.tracks import Company
from data_prep.media.pictures import read_pictures
from data_prep.media.remarks import NO_FACE, PEOPLE, Remark
from tests.data_prep.conftest import decode, write_video

LEFT, RIGHT = Box(20, 60, 80), Box(190, 40, 110)
SECONDS = np.arange(50) / 25
TURN = 0.3
OPTIONS = ClipOptions(face_size=64, detector=f"{__name__}:two_people", margin=0.0)


def two_people():
    """Finds two people by their colours: LEFT is green and has landmarks, RIGHT is blue, a plain box."""

    def find(picture, at_least=0.0):
        scale = picture.shape[1] / 320
        found = []
        if picture[..., 1].max() > 100:
            turn = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])
            landmarks = (TEMPLATE - 0.5) @ turn.T * LEFT.side + LEFT.centre
            found.append(Face(LEFT.scaled(scale), landmarks * scale, 0.9))
        return [*found, RIGHT.scaled(scale)] if picture[..., 2].max() > 100 else found

    return find


def write_people(path, left_speaks=None, right=True, sound=None):
    """Two square faces, 320 x 240; the mouth of one or the other moves while the sound is loud."""
    loud = np.sin(2 * np.pi * 1.0 * SECONDS) > 0
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"crf": "10"})
        video.width, video.height, video.pix_fmt = 320, 240, "yuv444p"
        audio = container.add_stream("aac", rate=16_000, layout="mono") if sound is not None else None
        for n in range(len(SECONDS)):
            picture = np.full((240, 320, 3), 30, np.uint8)
            for box, channel, is_left in [(LEFT, 1, True), (RIGHT, 2, False)][: 1 + right]:
                x, y, side = (round(value) for value in box)
                picture[y : y + side, x : x + side, channel] = 200
                if left_speaks == is_left and loud[n] and n % 3:
                    cv2.circle(picture, (x + side // 2, y + round(0.78 * side)), 10, (255, 255, 255), -1)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        if audio is not None:
            block = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
            block.sample_rate = 16_000
            container.mux(audio.encode(block))
            container.mux(audio.encode())
    return path


def voice():
    seconds = np.arange(32_000) / 16_000
    return 0.3 * np.random.default_rng(0).normal(size=32_000) * (np.sin(2 * np.pi * 1.0 * seconds) > 0)


def read(path, **changes):
    example, remarks, _ = read_clip(ClipSource("a", path, transcript="x"), dataclasses.replace(OPTIONS, **changes))
    return example, [remark.detail for remark in remarks if remark.kind == PEOPLE]


def shows(example):
    """Which of the two people a clip's crops show."""
    green, blue = np.mean([decode(face) for face in example["faces"]], axis=(0, 1, 2))[1:]
    return "left" if green > blue else "right"


def test_the_largest_of_two_people_is_read(tmp_path):
    example, people = read(write_people(tmp_path / "a.mp4", sound=voice()))
    assert shows(example) == "right"
    assert people == ["2 people; the largest is read, seen in 100% of the pictures"]
    assert np.isnan(example["landmarks"]).all()


@pytest.mark.parametrize(("left_speaks", "speaker"), [(True, "left"), (False, "right")])
def test_the_person_who_speaks_is_read_on_request(tmp_path, left_speaks, speaker):
    example, people = read(write_people(tmp_path / "a.mp4", left_speaks, sound=voice()), face="speaking")
    assert shows(example) == speaker
    assert people == ["2 people; the one who speaks is read, seen in 100% of the pictures"]


@pytest.mark.parametrize(("sound", "reason"), [(None, "there is no sound"), (voice, "no mouth follows the sound")])
def test_without_evidence_of_a_speaker_the_largest_is_read(tmp_path, sound, reason):
    path = write_people(tmp_path / "a.mp4", sound=sound and sound())
    example, people = read(path, face="speaking")
    assert shows(example) == "right"
    assert people == [f"2 people; the largest, since {reason}, is read, seen in 100% of the pictures"]


def test_people_keep_their_numbers_in_all_stretches(tmp_path):
    path = write_people(tmp_path / "a.mp4", sound=voice())
    options, stretch = dataclasses.replace(OPTIONS, max_seconds=0.8), Stretch(0.0, 0.8)
    for _ in range(3):
        example = read_clip(ClipSource("a", path, transcript="x"), options, stretch=stretch).example
        assert shows(example) == "right"
        assert set(example["person"]) == {1}
        assert list(example["others"]) == [2]
        other = example["others"][2]
        assert shows(other) == "left"
        np.testing.assert_array_equal(other["times"], example["times"])
        stretch = stretch.next
    assert not stretch.goes_on


def test_a_person_who_comes_later_has_the_next_number():
    def track(x, *pictures):
        return {n: Face(Box(x, 0.0, 0.1)) for n in pictures}

    company, seconds = Company(), np.arange(4) / 10
    assert company.numbers([track(0.1, 0, 1), track(0.5, 0)], seconds) == [1, 2]
    stretch = Stretch(0.0, 0.4, company=company).next
    resumed = Stretch.resume(json.loads(json.dumps(stretch.bookmark)))
    assert resumed == stretch
    company = resumed.company
    assert company.numbers([track(0.9, 0), track(0.52, 0), track(0.1, 2)], seconds + 0.4) == [3, 2, 1]
    assert company.numbers([], seconds) == []
    assert company.numbers([track(0.12, 1)], seconds + 0.8) == [1]


@pytest.mark.parametrize(("most_kept", "times_decoded"), [(50 * 320 * 240 * 3, 1), (49 * 320 * 240 * 3, 2)])
def test_crops_do_not_depend_on_whether_pictures_are_kept(tmp_path, monkeypatch, most_kept, times_decoded):
    path = write_people(tmp_path / "a.mp4")
    monkeypatch.setattr(vision, "MOST_KEPT", 0)
    expected, _ = read(path)
    calls = []
    monkeypatch.setattr(vision, "read_pictures", lambda *given: calls.append(given) or read_pictures(*given))
    monkeypatch.setattr(vision, "MOST_KEPT", most_kept)
    example, _ = read(path)
    assert len(calls) == times_decoded
    assert example["faces"] == expected["faces"]
    np.testing.assert_array_equal(example["landmarks"], expected["landmarks"])


def test_a_single_person_is_read_without_remark(tmp_path):
    example, people = read(write_people(tmp_path / "a.mp4", right=False, sound=voice()), face="speaking")
    assert shows(example) == "left"
    assert people == []


def test_the_crops_of_a_face_with_landmarks_are_upright(tmp_path):
    path = write_people(tmp_path / "a.mp4", right=False)
    example, _ = read(path, margin=0.25)
    np.testing.assert_allclose(example["landmarks"], np.tile(0.5 + (TEMPLATE - 0.5) / 1.5, (50, 1, 1)), atol=1e-4)
    example, _ = read(path, align="none")
    eyes = example["landmarks"][:, 1] - example["landmarks"][:, 0]
    np.testing.assert_allclose(np.arctan2(eyes[:, 1], eyes[:, 0]), TURN, atol=0.01)


def test_landmarks_are_unknown_where_the_face_is_hidden(tmp_path):
    path = write_people(tmp_path / "a.mp4", right=False)
    blank = write_video(tmp_path / "b.mp4", np.arange(4) / 25)
    example, _ = read(path, max_frames=8)
    assert example["landmarks"].shape == (8, 5, 2)
    hidden, remarks, _ = read_clip(ClipSource("b", blank, transcript="x"), OPTIONS)
    assert Remark(NO_FACE, "4 pictures") in remarks
    assert np.isnan(hidden["landmarks"]).all()
    assert hidden["landmarks"].shape == (4, 5, 2)


@pytest.mark.parametrize(("face", "expected"), [("largest", [0, 50, 40, 40]), ("only", [0, 70, 56, 40])])
def test_the_only_face_is_searched_for_at_about_its_size_until_it_is_lost(tmp_path, monkeypatch, face, expected):
    sides, searched = iter([100.0, 80.0, 0.0, 50.0]), []

    def find(picture, at_least=0.0):
        searched.append(pytest.approx(at_least))
        side = next(sides)
        return [Box(10, 10, side)] if side else []

    monkeypatch.setattr(vision, "_detector", lambda options: find)
    example, _ = read(write_video(tmp_path / "a.mp4", np.arange(4) / 25), face=face)
    assert searched == expected
    assert example["face_found"].tolist() == [True, True, False, True]
