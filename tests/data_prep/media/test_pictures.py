import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.media.geometry import set_upright, shown_size
from data_prep.media.pictures import read_pictures
from data_prep.media.remarks import CHANGED, DAMAGED_PICTURES, NO_FACE, OTHER_TRACKS, Remark
from data_prep.media.timeline import read_timeline
from tests.data_prep.conftest import decode, tone, write_video

MEDIA = Path(__file__).resolve().parents[4] / "shared" / "media"
HAAR = ClipOptions(face_size=32, detector="haar")


def pictures_of(path: Path, remarks: list[Remark] | None = None) -> list[np.ndarray]:
    found = [] if remarks is None else remarks
    return [picture for _, picture in read_pictures(path, read_timeline(path).stamps, found)]


def quadrants(width: int = 96, height: int = 64) -> np.ndarray:
    """A picture whose quarters have brightness 0, 80, 160 and 240, so that every rotation and mirroring is visible."""
    picture = np.zeros((height, width, 3), np.uint8)
    for number in range(4):
        rows, columns = (slice(k * n // 2, (k + 1) * n // 2) for k, n in ((number // 2, height), (number % 2, width)))
        picture[rows, columns] = 80 * number
    return picture


def corners(picture: np.ndarray) -> list[int]:
    """Brightness of the quarters, in units of 80."""
    height, width = picture.shape[:2]
    return [round(float(picture[y, x].mean()) / 80) for y in (8, height - 8) for x in (8, width - 8)]


def write_pictures(path: Path, pictures, codec="libx264", options=None, aspect=None, format=None) -> Path:
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream(
            codec, rate=25, options=options or {"crf": "10"} if codec == "libx264" else options
        )
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def set_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Writes a display matrix into the header of the only track: (x, y) is shown at (a x + c y, b x + d y)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 8
    fixed = [struct.pack(">i", round(number * 65_536)) for number in (a, b, 0, c, d)]
    data[at : at + 20] = b"".join(fixed)
    path.write_bytes(data)
    return path


def as_shown(picture: np.ndarray, a: float, b: float, c: float, d: float) -> np.ndarray:
    """Applies the display matrix point by point."""
    height, width = picture.shape[:2]
    size = (round(abs(b) * width + abs(d) * height), round(abs(a) * width + abs(c) * height))
    shown = np.zeros((*size, 3), picture.dtype)
    for y in range(height):
        for x in range(width):
            left, top = a * (x + 0.5) + c * (y + 0.5), b * (x + 0.5) + d * (y + 0.5)
            left, top = left % size[1], top % size[0]
            shown[int(top), int(left)] = picture[y, x]
    return shown


ALL_TURNS = [
    (1, 0, 0, 1),
    (-1, 0, 0, 1),
    (1, 0, 0, -1),
    (-1, 0, 0, -1),
    (0, 1, 1, 0),
    (0, 1, -1, 0),
    (0, -1, 1, 0),
    (0, -1, -1, 0),
]


@pytest.mark.parametrize("matrix", ALL_TURNS)
def test_rotated_and_mirrored_pictures_are_set_upright(tmp_path, matrix):
    path = set_matrix(write_pictures(tmp_path / "phone.mp4", [quadrants()] * 2), *matrix)
    shown, expected = pictures_of(path)[0], as_shown(quadrants(), *matrix)
    assert shown.shape == expected.shape
    assert corners(shown) == corners(expected)


@pytest.mark.parametrize("degrees", [-30, -2, -1, 1, 2, 30])
@pytest.mark.parametrize("matrix", ALL_TURNS)
def test_small_angles_are_rounded_to_quarter_turns(matrix, degrees):
    turn = np.deg2rad(degrees)
    small = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    turned = set_upright(quadrants(), np.array(matrix).reshape(2, 2) @ small)
    np.testing.assert_array_equal(turned, as_shown(quadrants(), *matrix))


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Fraction(2), (200, 50)),
        (Fraction(1, 2), (100, 100)),
        (Fraction(64, 45), (142, 50)),
        (Fraction(1), (100, 50)),
        (Fraction(0), (100, 50)),
        (Fraction(1000), (100, 50)),
    ],
)
def test_pictures_are_shown_with_square_pixels(aspect, size):
    assert shown_size(100, 50, float(aspect)) == size


@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(64, 45), Fraction(1, 2)])
def test_a_circle_stored_with_oblong_pixels_is_round(tmp_path, aspect):
    circle = np.full((240, 240, 3), 40, np.uint8)
    cv2.circle(circle, (120, 120), 80, (250, 250, 250), -1)
    width = round(240 / aspect) // 2 * 2
    stored = cv2.resize(circle, (width, 240), interpolation=cv2.INTER_AREA)
    options = {"x264-params": f"sar={aspect.numerator}/{aspect.denominator}"}
    picture = pictures_of(write_pictures(tmp_path / "a.mp4", [stored], options=options, aspect=aspect))[0]
    rows, columns = np.nonzero(picture[..., 0] > 140)
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(1.0, rel=0.02)


def write_two_sizes(path: Path, picture: np.ndarray, widths) -> Path:
    """Writes one MJPEG stream with 10 pictures of each width."""
    height = picture.shape[0] / picture.shape[1]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = widths[0], round(height * widths[0]) // 2 * 2, "yuvj420p"
        for number, width in enumerate(np.repeat(widths, 10).tolist()):
            size = (width, round(height * width) // 2 * 2)
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *size, "yuvj420p", Fraction(1, 25)
            frame = av.VideoFrame.from_ndarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.start_encoding()
            for packet in encoder.encode(frame):
                packet.stream = stream
                container.mux(packet)
    return path


@pytest.mark.skipif(not MEDIA.is_dir(), reason="needs the sample clips next to the repository")
@pytest.mark.parametrize("widths", [(320, 1280), (1280, 320), (480, 640)])
def test_face_is_tracked_when_the_picture_size_changes(tmp_path, widths):
    face = pictures_of(MEDIA / "single_face.mp4")[0]
    path = write_two_sizes(tmp_path / "a.mkv", face, widths)
    example, remarks, _ = read_clip(
        ClipSource("a", path, transcript="x"), ClipOptions(max_frames=20, face_size=64, detector="haar")
    )
    assert example["face_found"].all()
    crops = [decode(jpeg).astype(float) for jpeg in example["faces"]]
    assert len(crops) == 20
    assert max(np.abs(crop - crops[0]).mean() for crop in crops) < 12
    heights = [f"{width}x{round(face.shape[0] / face.shape[1] * width) // 2 * 2}" for width in widths]
    assert Remark(CHANGED, f"a.mkv: pictures of {', then '.join(heights)}") in remarks


@pytest.mark.parametrize(("width", "height"), [(97, 65), (65, 97), (33, 33)])
def test_pictures_with_odd_sizes_are_read(tmp_path, width, height):
    options = {"crf": "10"}
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        frame = av.VideoFrame.from_ndarray(quadrants(width, height), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (picture,) = pictures_of(tmp_path / "a.mkv")
    assert picture.shape == (height, width, 3)
    assert corners(picture) == [0, 1, 2, 3]


def test_cover_art_is_not_video(tmp_path):
    path = tmp_path / "song.mp3"
    _, jpeg = cv2.imencode(".jpg", quadrants())
    with av.open(str(path), "w") as container:
        sound = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 96, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.start_encoding()
        packet = av.Packet(jpeg.tobytes())
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        container.mux(packet)
        wave = (tone(0.5) * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
        frame.sample_rate = 44_100
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with av.open(str(path)) as container:
        assert container.streams.video
    example, remarks, _ = read_clip(
        ClipSource("song", path, transcript="x"), ClipOptions(face_size=32, detector="haar")
    )
    assert example["faces"] == []
    assert len(example["audio"]) > 2_000
    assert OTHER_TRACKS not in {remark.kind for remark in remarks}


@pytest.mark.parametrize("claimed_rate", [5, 25, 1000])
def test_times_are_the_timestamps_for_any_claimed_rate(tmp_path, claimed_rate):
    shown = [0.0, 0.04, 0.2, 0.24, 0.9, 1.5]
    path = write_video(tmp_path / "clip.mp4", shown, claimed_rate)
    np.testing.assert_allclose(read_timeline(path).seconds, shown, atol=1e-3)


def test_exactly_the_requested_pictures_are_returned(tmp_path):
    path = write_video(tmp_path / "clip.mp4", np.arange(40) / 25)
    stamps = read_timeline(path).stamps[[0, 7, 30, 39]]
    pictures = dict(read_pictures(path, stamps, []))
    assert list(pictures) == stamps.tolist()
    assert [round(float(picture.mean()) / 5) for picture in pictures.values()] == [0, 7, 30, 39]


def test_damaged_pictures_are_counted_and_the_others_are_read(tmp_path):
    path = write_video(tmp_path / "clip.mkv", np.arange(50) / 25, sound=tone(2.0), codecs=("mjpeg", "pcm_s16le"))
    data = bytearray(path.read_bytes())
    starts = [k for k in range(len(data) - 1) if data[k : k + 2] == b"\xff\xd8"]
    for start in starts[5:8]:
        end = data.index(b"\xff\xd9", start)
        data[start:end] = bytes(end - start)
    path.write_bytes(data)
    remarks: list[Remark] = []
    assert len(pictures_of(path, remarks)) == 47
    assert remarks == [Remark(DAMAGED_PICTURES, "clip.mkv: 3 packets")]


def test_the_default_picture_track_is_read(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mjpeg", rate=25) for _ in range(2)]
        for number, stream in enumerate(streams):
            stream.width = stream.height = 64
            stream.pix_fmt = "yuvj420p"
            stream.disposition = av.stream.Disposition.default if number else av.stream.Disposition(0)
        for number, stream in enumerate(streams):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 50 + 150 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    _, remarks, _ = read_clip(ClipSource("a", path, transcript="x"), HAAR)
    assert pictures_of(path)[0].mean() == pytest.approx(200, abs=3)
    assert {Remark(OTHER_TRACKS, "a.mkv: picture track 2 of 2 is read"), Remark(NO_FACE, "1 pictures")} <= set(remarks)
