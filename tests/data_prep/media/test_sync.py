"""A simultaneous flash and click stay simultaneous for any container, codecs and timestamps."""

import io
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import av
import numpy as np
import pytest

from data_prep.media.remarks import BROKEN_OFF, GAP, NO_TIMESTAMPS, RESTARTED, WRONG_RATE
from data_prep.media.timeline import read_timeline
from tests.data_prep.media.clapper import blocks, click, read_clapper, write_clapper

TOLERANCE = 0.04
VIDEO = {
    "mp4": ("libx264", "libx265", "mpeg4", "libvpx-vp9", "mjpeg"),
    "mov": ("libx264", "prores", "mjpeg"),
    "mkv": ("libx264", "libx265", "libvpx", "libvpx-vp9", "mpeg4", "ffv1", "av1"),
    "webm": ("libvpx", "libvpx-vp9"),
    "avi": ("mpeg4", "mjpeg", "libx264", "msmpeg4"),
    "flv": ("libx264", "flv"),
    "ts": ("libx264", "mpeg2video", "libx265"),
    "mpg": ("mpeg1video", "mpeg2video"),
    "vob": ("mpeg2video",),
    "3gp": ("libx264",),
    "wmv": ("wmv2", "msmpeg4"),
    "ogv": ("libvpx",),
    "nut": ("mpeg4",),
}
AUDIO = {
    "mp4": ("aac", "libmp3lame", "ac3", "libopus", "flac", "alac"),
    "mov": ("aac", "pcm_s16le", "pcm_f32le", "alac"),
    "mkv": ("aac", "libmp3lame", "libopus", "vorbis", "flac", "pcm_s16le", "ac3"),
    "webm": ("libopus", "vorbis"),
    "avi": ("libmp3lame", "pcm_s16le", "ac3"),
    "flv": ("aac", "libmp3lame"),
    "ts": ("aac", "libmp3lame", "ac3", "mp2", "eac3"),
    "mpg": ("mp2", "ac3"),
    "vob": ("ac3",),
    "3gp": ("aac", "libopencore_amrnb"),
    "wmv": ("wmav2", "libmp3lame"),
    "ogv": ("libopus", "flac"),
    "nut": ("aac",),
}
FORMATS = {"vob": "vob", "mpg": "mpeg", "ogv": "ogg"}
RATES = {"flv": 44_100, "wmv": 44_100, "libopencore_amrnb": 8_000}
PAIRS = [(e, v, AUDIO[e][0]) for e in VIDEO for v in VIDEO[e]] + [
    (e, VIDEO[e][0], a) for e in VIDEO for a in AUDIO[e][1:]
]


@pytest.mark.parametrize(("ending", "video", "audio"), PAIRS)
def test_flash_and_click_stay_together(tmp_path, ending, video, audio):
    rate = RATES.get(audio, RATES.get(ending, 48_000))
    path, form = tmp_path / f"clip.{ending}", FORMATS.get(ending)
    with ThreadPoolExecutor(1) as writer:  # in a thread of its own, since SVT-AV1 gives its thread real-time priority
        writer.submit(write_clapper, path, video, audio, rate=rate, format=form).result()
    found = read_clapper(path)
    assert found.flash == pytest.approx(1.2, abs=0.05)  # the writers of AVI and MPEG-TS move the first picture
    assert found.click == pytest.approx(found.flash, abs=TOLERANCE)
    assert found.pictures == 50
    assert found.length == pytest.approx(2.0, abs=0.1)
    assert not found.remarks


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100])
@pytest.mark.parametrize(
    ("ending", "audio"), [("mp4", "aac"), ("mkv", "libmp3lame"), ("avi", "libmp3lame"), ("ts", "aac")]
)
def test_priming_samples_of_low_rates_do_not_shift_the_sound(tmp_path, ending, audio, rate):
    video = "mpeg4" if ending == "avi" else "libx264"
    found = read_clapper(write_clapper(tmp_path / f"clip.{ending}", video, audio, rate=rate))
    assert found.click == pytest.approx(found.flash, abs=TOLERANCE)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fragments.mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
        ("delayed.mp4", {"movflags": "frag_keyframe+delay_moov"}),
        ("no_edit_list.mp4", {"use_editlist": "0"}),
        ("negative_offsets.mp4", {"movflags": "negative_cts_offsets"}),
        ("wraps.ts", {"output_ts_offset": "95442.5"}),
        ("late.mkv", {"output_ts_offset": "100"}),
        ("late.mp4", {"output_ts_offset": "100"}),
    ],
)
def test_the_clock_starts_with_the_earliest_timestamp(tmp_path, name, options):
    found = read_clapper(write_clapper(tmp_path / name, options=options))
    assert found.flash == pytest.approx(1.2, abs=0.1)
    assert found.click == pytest.approx(found.flash, abs=TOLERANCE)
    assert found.pictures == 50


@pytest.mark.parametrize(
    ("ending", "video", "audio"),
    [
        ("mp4", "libx264", "aac"),
        ("mov", "libx264", "pcm_s16le"),
        ("mkv", "libx264", "libopus"),
        ("ts", "libx264", "aac"),
        ("webm", "libvpx", "libopus"),
        ("flv", "libx264", "libmp3lame"),
        ("mpg", "mpeg2video", "mp2"),
        ("nut", "mpeg4", "aac"),
    ],
)
@pytest.mark.parametrize(("video_start", "audio_start"), [(0.48, 0.0), (0.0, 0.32)])
def test_track_that_starts_later_keeps_its_delay(tmp_path, ending, video, audio, video_start, audio_start):
    rate = RATES.get(ending, 48_000)
    path = write_clapper(
        tmp_path / f"clip.{ending}",
        video,
        audio,
        rate=rate,
        format=FORMATS.get(ending),
        video_start=video_start,
        audio_start=audio_start,
    )
    found = read_clapper(path)
    assert found.flash - found.click == pytest.approx(video_start - audio_start, abs=TOLERANCE)
    assert min(found.flash, found.click) == pytest.approx(1.2, abs=TOLERANCE)
    assert GAP not in found.remarks


def test_content_before_the_zero_of_an_mp4_is_cut_off(tmp_path):
    """An edit list starts 0.4 s into both tracks, as after cutting without re-encoding."""
    path = write_clapper(tmp_path / "clip.mov", "mjpeg", "pcm_s16le")
    data = bytearray(path.read_bytes())
    at = -1
    for _ in range(2):
        at = data.index(b"elst", at + 1)
        scale_at = data.index(b"mdhd", at) + 16
        scale = int.from_bytes(data[scale_at : scale_at + 4], "big")
        assert int.from_bytes(data[at + 8 : at + 12], "big") == 1  # one entry: its duration, then its start
        data[at + 16 : at + 20] = round(0.4 * scale).to_bytes(4, "big")
    path.write_bytes(data)
    found = read_clapper(path)
    assert found.flash == pytest.approx(0.8, abs=TOLERANCE)
    assert found.click == pytest.approx(0.8, abs=TOLERANCE)
    assert found.pictures == 40


@pytest.mark.parametrize(
    ("ending", "video", "audio"),
    [
        ("ts", "libx264", "aac"),
        ("ts", "mpeg2video", "mp2"),
        ("ts", "libx264", "ac3"),
        ("mpg", "mpeg2video", "mp2"),
        ("mkv", "libx264", "aac"),
        ("webm", "libvpx", "libopus"),
    ],
)
def test_joined_recordings_follow_each_other(tmp_path, ending, video, audio):
    first, second = (
        write_clapper(tmp_path / f"{event}.{ending}", video, audio, event=event, format=FORMATS.get(ending))
        for event in (9.0, 1.2)
    )
    path = tmp_path / f"joined.{ending}"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    found = read_clapper(path)
    assert found.flash == pytest.approx(3.2, abs=0.1)
    assert found.click == pytest.approx(found.flash, abs=TOLERANCE)
    assert found.pictures == 100
    assert found.length == pytest.approx(4.0, abs=0.1)
    assert RESTARTED in found.remarks


@pytest.mark.parametrize(("first", "second"), [("0", "5000"), ("5000", "0")])
def test_joined_recordings_of_different_hours_follow_each_other(tmp_path, first, second):
    a = write_clapper(tmp_path / "a.ts", event=9.0, options={"output_ts_offset": first})
    b = write_clapper(tmp_path / "b.ts", options={"output_ts_offset": second})
    path = tmp_path / "joined.ts"
    path.write_bytes(a.read_bytes() + b.read_bytes())
    found = read_clapper(path)
    assert found.flash == pytest.approx(3.2, abs=0.1)
    assert found.click == pytest.approx(found.flash, abs=TOLERANCE)
    assert found.remarks[RESTARTED].startswith("joined.ts: at 2.")


def test_container_error_ends_reading(tmp_path):
    first, second = (
        write_clapper(tmp_path / f"{event}.ogv", "libvpx", "libopus", event=event, format="ogg") for event in (1.2, 9.0)
    )
    path = tmp_path / "joined.ogv"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    found = read_clapper(path)
    assert found.pictures == 50
    assert found.click == pytest.approx(found.flash, abs=TOLERANCE)
    assert BROKEN_OFF in found.remarks


@pytest.mark.parametrize(("name", "codec", "format"), [("a.h264", "libx264", "h264"), ("a.hevc", "libx265", "hevc")])
def test_pictures_without_timestamps_follow_the_claimed_rate(tmp_path, name, codec, format):
    found = read_clapper(write_clapper(tmp_path / name, codec, None, format=format))
    assert (found.flash, found.pictures) == (pytest.approx(1.2, abs=TOLERANCE), 50)
    assert found.remarks == {NO_TIMESTAMPS: f"{name}: 25 per second"}


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp3", "libmp3lame", 44_100),
        ("a.m4a", "aac", 48_000),
        ("a.opus", "libopus", 48_000),
        ("a.wav", "pcm_s16le", 8_000),
        ("a.ogg", "vorbis", 48_000),
        ("a.flac", "flac", 44_100),
        ("a.wav", "pcm_f32le", 48_000),
        ("a.aiff", "pcm_s16be", 22_050),
        ("a.aac", "aac", 48_000),
        ("a.ac3", "ac3", 48_000),
        ("a.amr", "libopencore_amrnb", 8_000),
        ("a.caf", "alac", 44_100),
    ],
)
def test_file_with_sound_only_is_read(tmp_path, name, codec, rate):
    found = read_clapper(write_clapper(tmp_path / name, None, codec, rate=rate))
    assert found.click == pytest.approx(1.2, abs=TOLERANCE)
    assert found.length == pytest.approx(2.0, abs=0.1)
    assert found.pictures == 0
    assert not found.remarks


def test_browser_recording_without_duration_and_rate_is_read(tmp_path):
    buffer = _Pipe()
    path = tmp_path / "browser.webm"
    rng = np.random.default_rng(0)
    packets = []
    with av.open(buffer, "w", format="webm", options={"live": "1"}) as container:
        video = container.add_stream("libvpx", rate=1000)
        video.width = video.height = 64
        audio = container.add_stream("libopus", rate=48_000, layout="mono")
        container.start_encoding()
        milliseconds = 0
        while milliseconds < 3000:
            shade = 240 if 1500 <= milliseconds < 1700 else 40
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), shade, np.uint8), format="rgb24")
            frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
            packets += video.encode(frame)
            milliseconds += int(rng.integers(20, 60))
        packets += video.encode()
        for block, at in blocks(click(1.5, 3.0, 48_000), audio, 48_000):
            block.pts, block.time_base = at, Fraction(1, 48_000)
            packets += audio.encode(block)
        packets += audio.encode(None)
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            container.mux(packet)
    path.write_bytes(buffer.getvalue())
    with av.open(str(path)) as container:
        assert container.duration is None
    found = read_clapper(path)
    assert found.click == pytest.approx(1.5, abs=0.01)
    assert found.click == pytest.approx(found.flash, abs=TOLERANCE)
    assert found.length == pytest.approx(3.0, abs=0.02)
    assert list(found.remarks) == [WRONG_RATE]
    assert read_clapper(path, 1.0).remarks["longer than what is read"] == "browser.webm: read to 1 s"
    assert read_timeline(path, 1.0).seconds.max() < 1.0


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False
