"""A long clip that is read in stretches holds what it holds when it is read as a whole."""

import dataclasses

import numpy as np
import pytest

from data_prep.clips import clip as clips
from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.clips.stretches import Stretch
from data_prep.media.remarks import LONG, NO_FACE
from data_prep.media.timeline import read_timeline
from tests.data_prep.conftest import decode, write_video

RATE = 16_000
SECONDS = 7.0
OPTIONS = ClipOptions(max_frames=1000, max_seconds=2.0, face_size=32, detector=f"{__name__}:nothing")
WHOLE = dataclasses.replace(OPTIONS, max_seconds=60.0)


def nothing():
    """Returns a detector that finds no face, so that crops show the middle of the pictures."""
    return lambda picture, at_least=0.0: []


def chirp():
    seconds = np.arange(round(SECONDS * RATE)) / RATE
    return 0.4 * np.sin(2 * np.pi * (200 + 60 * seconds) * seconds)


def stretches(source, options=OPTIONS):
    """The stretches of a clip, one after the other."""
    stretch, found = Stretch(0.0, options.max_seconds), []
    while True:
        found.append((read_clip(source, options, stretch=stretch), stretch))
        if not stretch.goes_on:
            return found
        stretch = stretch.next


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_stretches_hold_the_pictures_and_the_sound_of_the_whole_clip(ending, tmp_path):
    codecs = ("mpeg4", "pcm_s16le") if ending == "avi" else ("libx264", "aac")
    path = write_video(tmp_path / f"a.{ending}", np.arange(0, SECONDS, 0.04), sound=chirp(), codecs=codecs)
    source = ClipSource("a", path, transcript="so it is")
    whole, found = read_clip(source, WHOLE).example, stretches(source)
    assert [stretch.start for _, stretch in found] == [0, 2, 4, 6]
    parts = [clip.example for clip, _ in found]
    times = np.concatenate([part["times"] for part in parts])
    np.testing.assert_allclose(times, whole["times"], atol=1e-6)
    brightness = [[decode(face).mean() for part in some for face in part["faces"]] for some in (parts, [whole])]
    np.testing.assert_allclose(*brightness, atol=1)
    sound = np.concatenate([part["audio"] for part in parts]).astype(float)
    size = min(len(sound), len(whole["audio"]))
    assert abs(len(sound) - len(whole["audio"])) <= 1
    assert np.abs(sound[:size] - whole["audio"][:size]).max() < 0.01 * 32768
    assert [part["transcript"] for part in parts] == ["so it is", "", "", ""]
    kinds = {remark.kind for clip, _ in found for remark in clip.remarks}
    assert not kinds & {LONG, NO_FACE}


def test_a_later_stretch_is_decoded_from_a_little_before_it(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", np.arange(0, 40, 0.2), sound=np.tile(chirp(), 6))
    timeline = read_timeline(path)
    packets: list[float] = []
    monkeypatch.setattr(
        "data_prep.media.pictures.decode",
        lambda packet, damage: packets.append(float((packet.pts or 0) * packet.time_base)) or packet.decode(),
    )
    stretch = Stretch(36.0, 38.0, {path: timeline})
    example = read_clip(ClipSource("a", path, transcript=None), OPTIONS, stretch=stretch).example
    np.testing.assert_allclose(example["times"], np.arange(36, 38, 0.2), atol=0.002)
    assert len(example["audio"]) == 2 * RATE
    assert min(packet for packet in packets if packet) > 10


def test_a_clip_that_is_short_enough_is_read_as_for_a_dataset(tmp_path):
    path = write_video(tmp_path / "a.mp4", np.arange(0, 2, 0.04), sound=chirp()[: 2 * RATE])
    source, stretch = ClipSource("a", path, transcript="x"), Stretch(0.0, 2.0)
    one, other = read_clip(source, OPTIONS), read_clip(source, OPTIONS, stretch=stretch)
    assert stretch.whole
    assert one.example["faces"] == other.example["faces"]
    np.testing.assert_array_equal(one.example["audio"], other.example["audio"])
    assert {remark.kind for remark in one.remarks} - {LONG} == {remark.kind for remark in other.remarks} - {LONG}


def test_recognised_words_have_the_times_of_the_clip(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.wav", None, sound=chirp(), codecs=("", "pcm_s16le"))
    monkeypatch.setattr(
        clips, "transcribe", lambda audio, *_: ("hm yes", ((0.1, 0.2), (0.5, len(audio) / RATE)), "", "")
    )
    listening = dataclasses.replace(OPTIONS, asr="any")
    found = [clip.example for clip, _ in stretches(ClipSource("a", path), listening)]
    assert [example["transcript"] for example in found] == ["hm yes"] * 4
    np.testing.assert_allclose(found[3]["word_times"], [(6.1, 6.2), (6.5, 7.0)], atol=1e-5)
