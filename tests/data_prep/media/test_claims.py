from pathlib import Path

import numpy as np
import pytest

from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.media.claims import cut_off_remarks, shown_until
from data_prep.media.pictures import read_pictures
from data_prep.media.remarks import CUT_OFF, LONG
from data_prep.media.timeline import read_timeline
from tests.data_prep.conftest import tone, write_video
from tests.data_prep.media.clapper import write_clapper

OPTIONS = ClipOptions(max_frames=4, face_size=32, detector="haar")


def remarks_of(path: Path, options: ClipOptions = OPTIONS) -> dict[str, str]:
    return dict(read_clip(ClipSource(path.stem, path, transcript="words"), options).remarks)


def mixed(path: Path, pictures: float, sound: float, video: str, audio: str, rate: int = 44_100) -> Path:
    """Writes a clip whose tracks have different lengths, `pictures` and `sound` in seconds."""
    import av

    parts = {
        "v": write_clapper(path.with_name(f"v{path.suffix}"), video, None, length=pictures),
        "a": write_clapper(path.with_name(f"a{path.suffix}"), None, audio, length=sound, rate=rate, event=0.1),
    }
    packets = []
    with av.open(str(parts["v"])) as one, av.open(str(parts["a"])) as two, av.open(str(path), "w") as out:
        for container in (one, two):
            (stream,) = container.streams
            target = out.add_stream_from_template(stream)
            for packet in container.demux(stream):
                if packet.dts is not None:
                    packet.stream = target
                    packets.append((float(packet.dts * packet.time_base), packet))
        for _, packet in sorted(packets, key=lambda pair: pair[0]):
            out.mux(packet)
    return path


@pytest.mark.parametrize(("pictures", "sound"), [(3.0, 1.0), (1.0, 3.0)])
@pytest.mark.parametrize(
    ("name", "video", "audio"),
    [
        ("a.mkv", "libx264", "pcm_s16le"),
        ("a.webm", "libvpx", "libopus"),
        ("a.flv", "libx264", "aac"),
        ("a.mp4", "libx264", "aac"),
        ("a.mov", "mjpeg", "pcm_s16le"),
        ("a.avi", "mpeg4", "pcm_s16le"),
        ("a.ts", "libx264", "aac"),
    ],
)
def test_shorter_track_is_not_reported_as_cut_off(tmp_path, name, video, audio, pictures, sound):
    rate = 48_000 if audio == "libopus" else 44_100
    assert CUT_OFF not in remarks_of(mixed(tmp_path / name, pictures, sound, video, audio, rate))


@pytest.mark.parametrize("event", [0.1, 3.9])
def test_length_estimated_from_the_bit_rate_is_not_a_claim(tmp_path, event):
    path = write_clapper(tmp_path / "a.aac", None, "aac", length=4.0, event=event, rate=44_100)
    assert set(remarks_of(path)) == {"no pictures"}


@pytest.mark.parametrize(
    ("name", "video", "audio", "options"),
    [
        ("a.mp4", "libx264", "aac", {"movflags": "faststart"}),
        ("a.mkv", "libx264", "aac", {}),
        ("a.flv", "libx264", "libmp3lame", {}),
        ("a.avi", "mpeg4", "pcm_s16le", {}),
        ("a.mp3", None, "libmp3lame", {}),
        ("a.wav", None, "pcm_s16le", {}),
    ],
)
def test_truncated_file_gets_a_remark(tmp_path, name, video, audio, options):
    path = write_clapper(tmp_path / name, video, audio, length=4.0, event=0.2, rate=44_100, options=options)
    assert CUT_OFF not in remarks_of(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert CUT_OFF in remarks_of(path)


def test_claims_are_compared_track_by_track():
    def found(claimed, ends):
        return [remark.detail for remark in cut_off_remarks("a.mp4", claimed, ends)]

    assert found({"video": 4.0, "audio": 4.0}, {"video": 3.96, "audio": 4.0}) == []
    assert found({"video": 4.0, "audio": 4.0}, {"video": 3.96, "audio": 1.0}) == ["a.mp4: last sound at 1.0 s of 4.0 s"]
    assert found({"file": 4.0}, {"video": 1.0, "audio": 4.0}) == []
    assert found({"file": 4.0}, {"video": 1.0, "audio": 1.5}) == ["a.mp4: last picture or sound at 1.5 s of 4.0 s"]
    assert found({"video": 4.0}, {"audio": 1.0}) == []


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_long_clip_that_is_not_fully_read_gets_a_remark(tmp_path, name):
    codecs = ("mpeg4", "pcm_s16le") if name == "a.avi" else ("libx264", "aac")
    path = write_clapper(tmp_path / name, *codecs, length=3.0, event=0.2)
    short = ClipOptions(max_frames=4, max_seconds=1.0, face_size=32, detector="haar")
    assert remarks_of(path, short)[LONG].endswith("s, read to 1 s")
    assert CUT_OFF not in remarks_of(path, short)
    assert LONG not in remarks_of(path, ClipOptions(max_frames=4, max_seconds=3.2, face_size=32, detector="haar"))


def test_long_sound_gets_a_remark(tmp_path):
    path = write_video(tmp_path / "a.wav", None, sound=tone(2.0), codecs=("", "pcm_s16le"))
    short = ClipOptions(max_seconds=1.0, detector="haar")
    assert remarks_of(path, short)[LONG] == "a.wav: 2.0 s, read to 1 s"


def test_last_picture_is_shown_for_as_long_as_the_others():
    assert shown_until(np.array([0.0, 1.0, 2.0, 3.0])) == 4.0
    assert shown_until(np.array([0.5])) == 0.5
    assert shown_until(np.zeros(0)) == 0.0


def test_pictures_after_a_late_start_are_read_where_a_file_cannot_be_searched(tmp_path):
    path = mixed(tmp_path / "a.mkv", 3.0, 1.0, "libx264", "pcm_s16le", 44_100)
    timeline = read_timeline(path, 12.0)
    late = timeline.stamps[timeline.seconds > 1.4]
    read = [stamp for stamp, _ in read_pictures(path, late, [])]
    from_start = [stamp for stamp, _ in read_pictures(path, timeline.stamps, [])]
    assert read == [stamp for stamp in from_start if stamp in set(late.tolist())]
    assert len(read) > 20
