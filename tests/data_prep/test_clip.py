from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.clip import ClipOptions, ClipSource, pick_evenly, read_clip
from data_prep.errors import ClipError

from .conftest import decode, tone, write_video

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
OPTIONS = ClipOptions(max_frames=6, face_size=32)


@pytest.mark.parametrize("count", [1, 5, 6, 7, 100])
def test_pick_evenly_in_time(count):
    seconds = np.arange(count) / 25
    picks = pick_evenly(seconds, 6)
    assert len(picks) == min(count, 6)
    assert len(set(picks)) == len(picks)


def test_pick_evenly_goes_by_time_and_not_by_number():
    seconds = np.concatenate([np.linspace(0, 1, 90), np.linspace(1.1, 10, 30)])
    chosen = seconds[pick_evenly(seconds, 10)]
    np.testing.assert_allclose(chosen, np.linspace(0, 10, 10), atol=0.2)


def test_a_clip_without_a_face(tmp_path):
    path = write_video(tmp_path / "clip.mp4", np.arange(50) / 25, sound=tone(2.0))
    example, notes = read_clip(ClipSource("7", path, transcript=" Hello. "), OPTIONS)
    assert len(example["faces"]) == len(example["times"]) == len(example["face_found"]) == 6
    assert not example["face_found"].any()
    assert example["times"].dtype == np.float32
    assert decode(example["faces"][0]).shape == (32, 32, 3)
    assert example["transcript"] == "Hello."
    assert notes == ()


def test_what_comes_after_max_seconds_is_not_read(tmp_path):
    path = write_video(tmp_path / "clip.mp4", np.arange(50) / 10, 10, sound=tone(5.0))
    example, _ = read_clip(ClipSource("7", path), ClipOptions(max_frames=400, max_seconds=2.0, face_size=32))
    assert len(example["audio"]) == 32_000
    assert example["times"].max() < 2.0
    assert len(example["faces"]) == 20


def test_given_face_images_come_in_the_order_of_their_numbers(tmp_path):
    folder = tmp_path / "00007"
    folder.mkdir()
    for number in (1, 2, 10, 11, 3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((40, 40, 3), 10 * number, np.uint8))
    (folder / "4.png").write_bytes(b"broken")
    example, notes = read_clip(ClipSource("00007", faces=folder), OPTIONS)
    levels = [decode(face).mean() for face in example["faces"]]
    np.testing.assert_allclose(levels, [10, 20, 30, 100, 110], atol=2)
    assert example["face_found"].all()
    assert "4.png" in notes[0]


def test_sound_beside_the_video_takes_the_place_of_its_track(tmp_path):
    video = write_video(tmp_path / "clip.mp4", [0.0, 0.04])
    sound = write_video(tmp_path / "clip.wav", None, sound=tone(0.25), codecs=("", "pcm_s16le"))
    example, _ = read_clip(ClipSource("clip", video, audio=sound), OPTIONS)
    assert (len(example["audio"]), len(example["faces"])) == (4_000, 2)


def test_words_alone_are_a_clip_and_nothing_is_none():
    example, _ = read_clip(ClipSource("words", transcript="hm"), OPTIONS)
    assert example["faces"] == []
    with pytest.raises(ClipError, match="empty: has no pictures, no sound and no transcript"):
        read_clip(ClipSource("empty"), OPTIONS)


@pytest.mark.skipif(not MEDIA.is_dir(), reason="needs the sample clips beside the repository")
@pytest.mark.parametrize(
    ("name", "share"), [("single_face.mp4", 1.0), ("WolfgangLanger_Pexels.mp4", 1.0), ("no_face.mp4", 0.0)]
)
def test_real_clips(name, share):
    example, notes = read_clip(ClipSource(name, MEDIA / name), OPTIONS)
    assert example["face_found"].mean() == share
    assert np.all(np.diff(example["times"]) > 0)
    assert notes == ()
