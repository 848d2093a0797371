"""Films with an overlay: the clip's timestamps and sound, and what is drawn where and when."""

import av
import numpy as np
import pytest

from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.faces import Box
from data_prep.clips.options import ClipOptions
from data_prep.clips.stretches import Stretch
from data_prep.errors import ClipError
from data_prep.overlay.film import write_overlay
from data_prep.overlay.panel import BAR, OUTLINE, TRACK, Course, Painter
from tests.data_prep.conftest import tone, write_video

STAMPS = np.array([0.0, 0.04, 0.1, 0.2, 0.35, 0.5, 0.52, 0.9, 1.0, 1.3])
"""Seconds of pictures that are not evenly spaced."""


def course(**changes):
    """Two windows: no joy, then all of it; the face in the middle, until 0.45 s."""
    places = np.array([(second, 0.5, 0.5, 0.4, 0.0) for second in STAMPS])
    places[places[:, 0] > 0.45, 1:] = np.nan
    made = {
        "seconds": np.array([0.25, 0.75]),
        "labels": ["Joy"],
        "intensities": np.array([[0.0], [100.0]]),
        "label_range": (0.0, 100.0),
        "modalities": ["vision", "audio"],
        "weights": np.array([[0.5, 0.5], [0.0, 1.0]]),
        "lacks": [(), ("no face",)],
        "places": places,
    }
    return Course(**made | changes)


def packets(path):
    """The bytes of the sound's packets and the samples."""
    with av.open(str(path)) as container:
        raw = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    with av.open(str(path)) as container:
        return raw, np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def pictures(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [float(frame.time) for frame in frames], [frame.to_ndarray(format="rgb24") for frame in frames]


def near(picture, colour):
    """The pixels of about a colour."""
    return np.abs(picture.astype(int) - colour).max(axis=2) < 60


def test_the_film_has_the_timestamps_and_the_very_sound_of_the_clip(tmp_path):
    clip = write_video(tmp_path / "a.mp4", STAMPS, sound=tone(1.3))
    write_overlay(clip, tmp_path / "b.mp4", course())
    seconds, shown = pictures(tmp_path / "b.mp4")
    np.testing.assert_allclose(seconds, STAMPS, atol=0.002)
    raw, samples = packets(clip)
    copied, heard = packets(tmp_path / "b.mp4")
    assert copied == raw
    np.testing.assert_array_equal(heard, samples)
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "b.mp4"}
    side = shown[0].shape[0]
    assert all(picture.shape == shown[0].shape for picture in shown)
    panels = [picture[:, side:] for picture in shown]
    full = [near(panel, BAR).sum() for panel in panels]
    assert max(full[:6]) < 0.1 * min(full[6:])  # joy from 0.5 s on, between the middles of the windows
    outlined = [near(picture[:, :side], OUTLINE).sum() for picture in shown]
    assert min(outlined[:5]) > side
    assert max(outlined[5:]) == 0


def test_sound_that_an_mp4_cannot_hold_is_encoded(tmp_path):
    clip = write_video(tmp_path / "a.mkv", STAMPS, sound=tone(1.3), codecs=("libx264", "pcm_s16le"))
    write_overlay(clip, tmp_path / "b.mp4", course())
    _, heard = packets(tmp_path / "b.mp4")
    spectrum = np.abs(np.fft.rfft(heard[0][:16_000]))
    assert abs(int(spectrum.argmax()) - 440) <= 2
    assert abs(heard.shape[1] - 1.3 * 16_000) < 3 * 1024


def test_a_clip_without_pictures_has_no_film(tmp_path):
    clip = write_video(tmp_path / "a.wav", None, sound=tone(1.0), codecs=("", "pcm_s16le"))
    with pytest.raises(ClipError, match="has no pictures"):
        write_overlay(clip, tmp_path / "b.mp4", course())
    assert not (tmp_path / "b.mp4").exists()


def test_the_outline_turns_with_the_face_and_names_of_any_script_fit():
    tilted = course(places=np.array([(0.0, 0.5, 0.5, 0.4, np.pi / 4)]), labels=["Größte Freude, радость"])
    painter = Painter(tilted, 200)
    drawn = painter.paint(np.zeros((200, 200, 3), np.uint8), 0.0)
    assert drawn.shape == (200, 200 + painter.width, 3)
    rows, columns = np.nonzero(near(drawn[:, :200], OUTLINE))
    corner = 0.4 * 200 * np.sqrt(0.5)  # a square on its corner
    for places in (rows, columns):
        assert (places.min(), places.max()) == (pytest.approx(100 - corner, abs=3), pytest.approx(100 + corner, abs=3))
    assert near(drawn[:, 200:], TRACK).any()


def one_face():
    """Returns a detector that finds one face in the right half of the picture."""
    return lambda picture, at_least=0.0: [Box(40, 20, 16)]


def test_the_reader_says_where_the_face_is(tmp_path):
    clip = write_video(tmp_path / "a.mp4", STAMPS)
    options = ClipOptions(face_size=32, detector=f"{__name__}:one_face")
    example = read_clip(ClipSource("a", clip, transcript="x"), options, stretch=Stretch(0.0, 12.0)).example
    np.testing.assert_allclose(example["places"], np.tile([48 / 64, 28 / 64, 16 / 64, 0], (10, 1)), atol=1e-6)
    assert "places" not in read_clip(ClipSource("a", clip, transcript="x"), options).example
