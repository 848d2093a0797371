"""Files of cameras, editors and archives: interlaced, with chapters, subtitles, edits or odd timestamps."""

import gc
import struct
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.media.pictures import read_pictures
from data_prep.media.remarks import INTERLACED, SUBTITLES, Remark
from data_prep.media.timeline import read_timeline
from tests.data_prep.conftest import decode
from tests.data_prep.media.clapper import click, read_clapper, write_clapper

TOLERANCE = 0.04


def encode(codec, picture, number, rate=25):
    """One intra-coded picture as a packet, without a container."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width = picture.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, rate)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    frame.pts = number
    (packet,) = encoder.encode(frame)
    packet.time_base = Fraction(1, rate)
    return packet


def write_interlaced(path, codec, options, format=None):
    """A bar that moves by 2 pixels from field to field: odd lines show it 20 ms after even ones."""
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(12):
            picture = np.full((64, 96, 3), 20, np.uint8)
            for field in range(2):
                left = 4 * number + 2 * field
                picture[field::2, left : left + 10] = 250
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "options", "format"),
    [
        ("a.mp4", "libx264", {"x264-params": "tff=1", "crf": "5"}, None),
        ("a.mpg", "mpeg2video", {"flags": "+ilme+ildct", "b": "4M"}, "mpeg"),
    ],
)
def test_interlaced_pictures_show_one_moment(tmp_path, name, codec, options, format):
    path = write_interlaced(tmp_path / name, codec, options, format)
    timeline, remarks = read_timeline(path), []
    pictures = dict(read_pictures(path, timeline.stamps, remarks))
    assert list(pictures) == timeline.stamps.tolist()
    np.testing.assert_allclose(timeline.seconds, np.arange(12) / 25, atol=1e-3)
    assert remarks == [Remark(INTERLACED, f"{name}: 12 pictures")]
    for number, picture in list(enumerate(pictures.values()))[1:-1]:
        lefts = (picture[10:54, :, 0] > 130).argmax(axis=1)  # of the bar, line by line
        assert np.ptp(lefts) <= 1
        assert 4 * number <= lefts.mean() <= 4 * number + 2


def test_progressive_pictures_are_unchanged(tmp_path):
    path = write_interlaced(tmp_path / "a.mp4", "libx264", {"crf": "5"})
    remarks = []
    picture = dict(read_pictures(path, read_timeline(path).stamps, remarks))
    lefts = (list(picture.values())[5][10:54, :, 0] > 130).argmax(axis=1)
    assert set(lefts[::2]) == {20}
    assert set(lefts[1::2]) == {22}
    assert not remarks


def remux(source, path, chapters=(), subtitles=None):
    """Copies a file, adding chapters or a subtitle track in English."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        if subtitles:
            track = new.add_mux_stream(subtitles)
            track.metadata["language"], track.time_base = "eng", Fraction(1, 1000)
        if chapters:
            new.set_chapters(list(chapters))
        for packet in old.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                new.mux(packet)
        if subtitles:
            text = b"hello there"
            packet = av.Packet(struct.pack(">H", len(text)) + text if subtitles == "mov_text" else text)
            packet.stream, packet.time_base = track, Fraction(1, 1000)
            packet.pts = packet.dts = 500
            packet.duration = 800
            new.mux(packet)
    return path


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv"])
def test_chapters_change_nothing(tmp_path, ending):
    chapters = [
        {"id": n, "start": 1000 * n, "end": 1000 * (n + 1), "time_base": Fraction(1, 1000), "metadata": {"title": "a"}}
        for n in range(2)
    ]
    path = remux(write_clapper(tmp_path / "plain.mp4"), tmp_path / f"a.{ending}", chapters)
    with av.open(str(path)) as container:
        assert len(container.chapters()) == 2
    found = read_clapper(path)
    assert found.click == pytest.approx(found.flash, abs=TOLERANCE)
    assert found.flash == pytest.approx(1.2, abs=TOLERANCE)
    assert (found.pictures, found.remarks) == (50, {})


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "mov_text"), ("mkv", "subrip")])
def test_subtitles_inside_a_file_are_remarked_on(tmp_path, ending, codec):
    path = remux(write_clapper(tmp_path / "plain.mp4"), tmp_path / f"a.{ending}", subtitles=codec)
    found = read_clapper(path)
    assert found.click == pytest.approx(found.flash, abs=TOLERANCE)
    assert (found.pictures, found.remarks) == (50, {SUBTITLES: f"a.{ending}: eng"})


def test_an_mp4_edit_that_waits_and_then_skips_is_followed(tmp_path):
    """The pictures appear after 0.48 s (an empty edit) and begin 0.4 s into their media."""
    path = write_clapper(tmp_path / "a.mov", "mjpeg", "pcm_s16le", video_start=0.48)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst")
    assert int.from_bytes(data[at + 8 : at + 12], "big") == 2
    assert int.from_bytes(data[at + 16 : at + 20], "big", signed=True) == -1  # the first edit is empty
    scale_at = data.index(b"mdhd", at) + 16
    scale = int.from_bytes(data[scale_at : scale_at + 4], "big")
    data[at + 28 : at + 32] = round(0.4 * scale).to_bytes(4, "big")
    path.write_bytes(data)
    found = read_clapper(path)
    assert found.flash == pytest.approx(1.2 + 0.48 - 0.4, abs=TOLERANCE)
    assert found.click == pytest.approx(1.2, abs=TOLERANCE)


def write_stamped(path, stamps):
    """Pictures with these timestamps in units of 1/25 s, in this order; a flash and a click at 1.2 s."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuvj420p"
        sound = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        container.start_encoding()
        samples = (click(1.2, 2.0, 16_000) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(sound.encode(frame) + sound.encode(None))
        for number, stamp in enumerate(stamps):
            shade = 250 if 30 <= stamp < 35 else 20
            packet = encode("mjpeg", np.full((64, 64, 3), shade, np.uint8), number)
            packet.stream, packet.pts, packet.dts = video, stamp, min(stamp, number - len(stamps))
            container.mux(packet)
    return path


ORDERED = list(range(50))


@pytest.mark.parametrize("ending", ["mkv", "nut"])
@pytest.mark.parametrize(
    ("stamps", "pictures"),
    [
        ([stamp for stamp in ORDERED for _ in range(2)], 50),
        ([stamp - stamp % 2 for stamp in ORDERED], 25),
        ([stamp ^ 1 for stamp in ORDERED], 50),
        (ORDERED[:20] + ORDERED[20:40][::-1] + ORDERED[40:], 50),
        (ORDERED[::-1], 50),
    ],
)
def test_pictures_with_repeated_or_reversed_timestamps_stand_where_these_put_them(tmp_path, ending, stamps, pictures):
    found = read_clapper(write_stamped(tmp_path / f"a.{ending}", stamps))
    assert found.flash == pytest.approx(1.2, abs=TOLERANCE)
    assert found.click == pytest.approx(1.2, abs=TOLERANCE)
    assert found.pictures == pictures


def test_crops_of_reversed_pictures_are_in_order(tmp_path):
    path = write_stamped(tmp_path / "a.mkv", ORDERED[::-1])
    example = read_clip(ClipSource("a", path, transcript="x"), ClipOptions(face_size=32, detector="haar")).example
    np.testing.assert_allclose(example["times"], np.arange(50) / 25, atol=2e-3)
    bright = [bool(decode(face).mean() > 130) for face in example["faces"]]
    assert np.flatnonzero(bright).tolist() == [30, 31, 32, 33, 34]


def write_4k(path, count):
    picture = np.zeros((2160, 3840, 3), np.uint8)
    picture[:, 1920:] = 200
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 3840, 2160, "yuvj420p"
        container.start_encoding()
        data = bytes(encode("mjpeg", picture, 0))
        for number in range(count):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            container.mux(packet)
    return path


@pytest.fixture
def uncollected():
    """No garbage is collected: what stays in memory is counted."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_4k_pictures_are_held_one_at_a_time(tmp_path, uncollected):
    path = write_4k(tmp_path / "a.mkv", 8)
    stamps = read_timeline(path).stamps
    tracemalloc.start()
    levels, frames = [], []
    for _, shown in read_pictures(path, stamps, []):
        levels.append((shown[:, :1900].mean(), shown[:, 1940:].mean()))
        frames.append(sum(type(thing) is av.VideoFrame for thing in gc.get_objects()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_allclose(levels, [(0, 200)] * 8, atol=2)
    assert peak < 3 * shown.nbytes
    assert max(frames[1:]) <= 4
