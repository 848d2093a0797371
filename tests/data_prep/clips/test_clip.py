import dataclasses
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.detectors import load_detector
from data_prep.clips.faces import Box
from data_prep.clips.options import ClipOptions
from data_prep.clips.vision import pick_evenly
from data_prep.errors import ClipError, CorpusError
from data_prep.media.remarks import BAD_IMAGE, CENTRED, LONG, NO_AUDIO, NO_FACE, NO_TEXT, SILENT, UNREADABLE, Remark
from tests.data_prep.conftest import decode, tone, write_video

MEDIA = Path(__file__).resolve().parents[4] / "shared" / "media"
OPTIONS = ClipOptions(max_frames=6, face_size=32, detector="haar")


@pytest.mark.parametrize("count", [1, 5, 6, 7, 100])
def test_pick_evenly_in_time(count):
    seconds = np.arange(count) / 25
    picks = pick_evenly(seconds, 6)
    assert len(picks) == min(count, 6)
    assert len(set(picks)) == len(picks)


def test_pick_evenly_spreads_by_time_and_not_by_index():
    seconds = np.concatenate([np.linspace(0, 1, 90), np.linspace(1.1, 10, 30)])
    chosen = seconds[pick_evenly(seconds, 10)]
    np.testing.assert_allclose(chosen, np.linspace(0, 10, 10), atol=0.2)


def test_clip_without_a_face_keeps_its_pictures(tmp_path):
    path = write_video(tmp_path / "clip.mp4", np.arange(50) / 25, sound=tone(2.0))
    example, remarks, _ = read_clip(ClipSource("7", path, transcript=" Hello. "), OPTIONS)
    assert len(example["faces"]) == len(example["times"]) == len(example["face_found"]) == 6
    assert not example["face_found"].any()
    assert example["times"].dtype == np.float32
    assert decode(example["faces"][0]).shape == (32, 32, 3)
    assert example["transcript"] == "Hello."
    assert remarks == (Remark(NO_FACE, "6 pictures"),)


def test_the_centre_counts_as_a_face_on_request(tmp_path):
    path = write_video(tmp_path / "clip.mp4", np.arange(50) / 25)
    centred = dataclasses.replace(OPTIONS, no_face="centre")
    clips = [read_clip(ClipSource("7", path, transcript="x"), options) for options in (OPTIONS, centred)]
    assert [clip.example["face_found"].any() for clip in clips] == [False, True]
    assert clips[0].example["faces"] == clips[1].example["faces"]
    assert Remark(CENTRED, "6 pictures") in clips[1].remarks


def two_faces():
    """Returns a detector, for the test below."""
    return lambda picture, at_least=0.0: [Box(0, 0, 20), Box(24, 24, 40)]


def test_detector_is_loaded_by_function_name(tmp_path):
    path = write_video(tmp_path / "clip.mp4", np.arange(5) / 25)
    mine = dataclasses.replace(OPTIONS, detector=f"{__name__}:two_faces", margin=0.0)
    assert read_clip(ClipSource("7", path, transcript="x"), mine).example["face_found"].all()


@pytest.mark.parametrize(
    "name", ["nowhere:haar", "data_prep.clips.detectors:nothing", "data_prep.clips.detectors", "json:__doc__"]
)
def test_unknown_detector_is_refused(name):
    with pytest.raises(CorpusError, match=f"--detector={name}: .*expected"):
        load_detector(name)


def test_memory_does_not_grow_with_clip_length(tmp_path):
    peaks = []
    for seconds in (20, 100):
        path = write_video(tmp_path / "long.mp4", np.arange(seconds * 2) / 2, 2, tone(seconds))
        tracemalloc.start()
        _, remarks, _ = read_clip(ClipSource("7", path, transcript="x"), OPTIONS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert Remark(LONG, f"long.mp4: {seconds:.1f} s, read to 12 s") in remarks
    assert peaks[1] < 1.5 * peaks[0]


def test_a_face_image_that_claims_to_be_huge_is_not_decoded(tmp_path):
    folder = tmp_path / "00001"
    folder.mkdir()
    _, png = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))
    header = struct.pack(">II", 60_000, 60_000) + png.tobytes()[24:29]
    checked = b"IHDR" + header
    data = png.tobytes()[:12] + checked + struct.pack(">I", zlib.crc32(checked)) + png.tobytes()[33:]
    (folder / "1.png").write_bytes(data)
    (folder / "2.png").write_bytes(png.tobytes())
    example, remarks, _ = read_clip(ClipSource("1", faces=folder), OPTIONS)
    assert len(example["faces"]) == 1
    assert Remark(BAD_IMAGE, "00001/1.png") in remarks


def test_any_decoder_exception_becomes_a_clip_error(tmp_path, monkeypatch):
    def broken(*arguments):
        raise ZeroDivisionError("odd header")

    monkeypatch.setattr("data_prep.clips.clip.read_sound", broken)
    path = write_video(tmp_path / "a.mp4", [0.0, 0.2])
    with pytest.raises(ClipError, match=r"a.mp4: ZeroDivisionError: odd header"):
        read_clip(ClipSource("a", path), OPTIONS)


def test_nothing_after_max_seconds_is_read(tmp_path):
    path = write_video(tmp_path / "clip.mp4", np.arange(50) / 10, 10, sound=tone(5.0))
    example, _, _ = read_clip(
        ClipSource("7", path), ClipOptions(max_frames=400, max_seconds=2.0, face_size=32, detector="haar")
    )
    assert len(example["audio"]) == 32_000
    assert example["times"].max() < 2.0
    assert len(example["faces"]) == 20


def test_face_images_are_ordered_by_number(tmp_path):
    folder = tmp_path / "00007"
    folder.mkdir()
    for number in (1, 2, 10, 11, 3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((40, 40, 3), 10 * number, np.uint8))
    (folder / "4.png").write_bytes(b"broken")
    example, remarks, _ = read_clip(ClipSource("00007", faces=folder), OPTIONS)
    np.testing.assert_allclose(example["times"], np.array([0, 1, 2, 9, 10]) / 25, atol=1e-6)
    levels = [decode(face).mean() for face in example["faces"]]
    np.testing.assert_allclose(levels, [10, 20, 30, 100, 110], atol=2)
    assert example["face_found"].all()
    assert Remark(BAD_IMAGE, "00007/4.png") in remarks


def test_face_images_keep_gaps_and_the_time_limit(tmp_path):
    folder = tmp_path / "00007"
    folder.mkdir()
    for number in (10, 11, 110, 111, 310, 311):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((40, 40, 3), 100, np.uint8))
    example, remarks, _ = read_clip(ClipSource("00007", faces=folder), ClipOptions(face_size=32, detector="haar"))
    np.testing.assert_allclose(example["times"], [0, 0.04, 4, 4.04], atol=1e-6)
    assert Remark(LONG, "00007/: face images of 12.1 s, read to 12 s") in remarks


def test_files_without_decimal_numbers_are_not_face_images(tmp_path):
    for name in ("1", "²", "x"):
        cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 40, 3), 100, np.uint8))
        (tmp_path / "a.png").rename(tmp_path / f"{name}.png")
    assert len(read_clip(ClipSource("7", faces=tmp_path), OPTIONS).example["faces"]) == 1


def test_a_sound_file_replaces_the_track_of_the_video(tmp_path):
    video = write_video(tmp_path / "clip.mp4", [0.0, 0.04])
    sound = write_video(tmp_path / "clip.wav", None, sound=tone(0.25), codecs=("", "pcm_s16le"))
    example, _, _ = read_clip(ClipSource("clip", video, audio=sound), OPTIONS)
    assert (len(example["audio"]), len(example["faces"])) == (4_000, 2)


def test_muted_clip_has_the_pictures_of_its_video_only(tmp_path):
    video = write_video(tmp_path / "clip.mp4", [0.0, 0.04], sound=tone(0.25))
    example, remarks, _ = read_clip(ClipSource("clip", video, muted=True), OPTIONS)
    assert (len(example["audio"]), len(example["faces"])) == (0, 2)
    assert "no sound" in {remark.kind for remark in remarks}


@pytest.mark.parametrize("content", [None, b"", b"not a media file"])
def test_unreadable_file_does_not_affect_the_other(tmp_path, content):
    video = write_video(tmp_path / "clip.mp4", [0.0, 0.04])
    sound = write_video(tmp_path / "clip.wav", None, sound=tone(0.25), codecs=("", "pcm_s16le"))
    broken = tmp_path / "broken.mp3"
    if content is not None:
        broken.write_bytes(content)
    for source, faces, samples in (
        (ClipSource("clip", video, audio=broken), 2, 0),
        (ClipSource("clip", broken, audio=sound), 0, 4_000),
    ):
        example, remarks, _ = read_clip(source, OPTIONS)
        assert (len(example["faces"]), len(example["audio"])) == (faces, samples)
        assert [remark.detail[:12] for remark in remarks if remark.kind == UNREADABLE] == ["broken.mp3: "]
    with pytest.raises(ClipError, match=r"broken\.mp3"):
        read_clip(ClipSource("clip", broken, transcript="words"), OPTIONS)


def test_clip_of_words_only_is_read_and_empty_clip_is_refused():
    example, _, _ = read_clip(ClipSource("words", transcript="hm"), OPTIONS)
    assert example["faces"] == []
    with pytest.raises(ClipError, match="empty: has no pictures, no sound, no transcript and no features"):
        read_clip(ClipSource("empty"), OPTIONS)


@pytest.mark.skipif(not MEDIA.is_dir(), reason="needs the sample clips next to the repository")
@pytest.mark.parametrize(
    ("name", "share"), [("single_face.mp4", 1.0), ("WolfgangLanger_Pexels.mp4", 1.0), ("no_face.mp4", 0.0)]
)
def test_real_clips_are_read(name, share):
    example, remarks, _ = read_clip(ClipSource(name, MEDIA / name), OPTIONS)
    assert example["face_found"].mean() == share
    assert np.all(np.diff(example["times"]) > 0)
    assert {remark.kind for remark in remarks} <= {NO_TEXT, NO_AUDIO, NO_FACE, LONG, SILENT}


def test_picture_too_thin_for_a_face_has_none(tmp_path):
    assert load_detector("haar")(np.zeros((2, 2000, 3), np.uint8)) == []
    image = tmp_path / "clip.mp4"
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "a.png").rename(image)
    with pytest.raises(ClipError, match=r"not a readable media file .an image, a playlist or another format"):
        read_clip(ClipSource("a", image), ClipOptions(detector="haar"))
