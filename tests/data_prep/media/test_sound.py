import dataclasses
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soxr

from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.errors import ClipError
from data_prep.media import sound
from data_prep.media.remarks import (
    CHANGED,
    DAMAGED_SOUND,
    GAP,
    LONG,
    NO_AUDIO,
    NO_DECODER,
    NOT_FINITE,
    OTHER_TRACKS,
    SILENT,
    TOO_LOUD,
    Remark,
)
from data_prep.media.sound import read_sound
from data_prep.media.timeline import read_timeline
from tests.data_prep.conftest import tone, write_video
from tests.data_prep.media.clapper import click, first_loud, read_clapper, write_clapper

MEDIA = Path(__file__).resolve().parents[4] / "shared" / "media"
OPTIONS = ClipOptions(max_frames=2, face_size=32, detector="haar")


def sound_of(path: Path, max_seconds: float = 12.0, start: float | None = None) -> np.ndarray:
    timeline = read_timeline(path, max_seconds)
    timeline = timeline if start is None else dataclasses.replace(timeline, start=start)
    return read_sound(path, timeline, max_seconds, [])[0]


def remarks_of(path: Path) -> dict[str, str]:
    return dict(read_clip(ClipSource(path.stem, path, transcript="words"), OPTIONS).remarks)


def hertz(audio: np.ndarray) -> float:
    return np.argmax(np.abs(np.fft.rfft(audio))) * 16_000 / len(audio)


def write_takes(path: Path, takes, layout: str = "mono") -> Path:
    """Concatenates MP3 recordings of one second; each take is (sample rate, hertz)."""
    parts = []
    for rate, pitch in takes:
        with av.open(str(path), "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as container:
            stream = container.add_stream("libmp3lame", rate=rate, layout="mono")
            wave = (12_000 * np.sin(2 * np.pi * pitch * np.arange(rate) / rate)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            frame.sample_rate = rate
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "pcm_s16le"), ("a.mp4", "aac"), ("a.webm", "libopus"), ("a.ts", "aac")]
)
def test_gap_is_filled_with_silence_of_its_length(tmp_path, name, codec):
    video = "libvpx" if name.endswith("webm") else "libx264"
    path = write_clapper(tmp_path / name, video, codec, event=1.8, length=2.4, gap=(0.5, 1.5))
    found = read_clapper(path)
    assert found.click == pytest.approx(found.flash, abs=0.04)
    assert found.length == pytest.approx(2.4, abs=0.05)
    assert found.remarks[GAP].startswith(f"{name}: 1.0") or found.remarks[GAP].startswith(f"{name}: 0.9")


def test_samples_on_both_sides_of_a_gap_are_exact(tmp_path):
    """16 kHz PCM is not resampled, so every sample can be compared."""
    wave = (9_000 * np.sin(np.arange(32_000) * 0.3)).astype(np.int16)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for start in [*range(0, 16_000, 800), *range(24_000, 32_000, 800)]:
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 800], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
            container.mux(stream.encode(frame))
    wave[16_000:24_000] = 0
    np.testing.assert_array_equal(sound_of(path), wave)


def test_damaged_packets_leave_silence_of_their_length(tmp_path):
    path = write_clapper(tmp_path / "a.mkv", "libx264", "ac3", event=1.6)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [
            (p.pos, p.size) for p in container.demux(audio=0) if p.size and 0.5 < float(p.pts * p.time_base) < 1.2
        ]
    for at, size in packets:
        data[at + 6 : at + size] = bytes(size - 6)
    path.write_bytes(data)
    found = read_clapper(path)
    assert found.click == pytest.approx(found.flash, abs=0.04)
    assert {GAP, DAMAGED_SOUND} & set(found.remarks)


def test_the_sample_rate_may_change_midway(tmp_path):
    path = write_takes(tmp_path / "joined.mp3", [(44_100, 440), (48_000, 880), (22_050, 440)])
    audio = sound_of(path)
    assert len(audio) == pytest.approx(48_000, abs=3_000)
    assert [hertz(audio[at : at + 8_000]) for at in (4_000, 21_000, 38_000)] == pytest.approx([440, 880, 440], abs=4)
    assert "44100 Hz" in remarks_of(path)[CHANGED]


def test_sound_is_cut_at_the_limit(tmp_path):
    path = write_video(tmp_path / "a.wav", None, sound=tone(2.0), codecs=("", "pcm_s16le"))
    assert len(sound_of(path, 0.5)) == 8_000


def test_sound_that_starts_after_the_limit_is_absent(tmp_path):
    path = write_clapper(tmp_path / "a.mkv", "libx264", "pcm_s16le", audio_start=1.5)
    example, remarks, _ = read_clip(
        ClipSource("a", path), ClipOptions(max_frames=2, max_seconds=1.0, face_size=32, detector="haar")
    )
    assert len(example["audio"]) == 0
    assert {NO_AUDIO, LONG} <= {remark.kind for remark in remarks}


def test_sound_before_second_zero_is_dropped(tmp_path):
    path = write_clapper(tmp_path / "a.wav", None, "pcm_s16le", rate=16_000)
    assert first_loud(sound_of(path, start=0.4)) == pytest.approx(0.8, abs=0.001)


@pytest.mark.parametrize("level", [0, 3])
def test_silence_is_absent_sound(tmp_path, level):
    wave = level * np.sign(np.sin(np.arange(16_000))) / 32_768
    path = write_video(tmp_path / "a.mkv", [0.0, 0.5], sound=wave, codecs=("libx264", "pcm_s16le"))
    example, remarks, _ = read_clip(ClipSource("a", path, transcript="x"), OPTIONS)
    assert len(example["audio"]) == 0
    assert {SILENT, NO_AUDIO} <= {remark.kind for remark in remarks}


def test_quiet_voice_is_not_silence(tmp_path):
    path = write_video(tmp_path / "a.wav", None, sound=tone(1.0) / 200, codecs=("", "pcm_s16le"))
    assert np.abs(sound_of(path)).max() == pytest.approx(32_767 * 0.5 / 200, abs=2)


@pytest.mark.parametrize(
    ("old", "new", "missing"), [(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT", NO_AUDIO), (b"V_MJPEG", b"V_XYZAB", "no pictures")]
)
def test_a_track_without_a_decoder_is_absent_and_the_other_is_read(tmp_path, old, new, missing):
    path = write_clapper(tmp_path / "a.mkv", "mjpeg", "pcm_s16le")
    path.write_bytes(path.read_bytes().replace(old, new))
    remarks = remarks_of(path)
    assert {missing, NO_DECODER} <= set(remarks)
    found = read_clapper(path)
    there = found.flash if missing == NO_AUDIO else found.click
    assert there == pytest.approx(1.2, abs=0.04)


def write_tracks(path: Path, defaults: tuple[bool, ...]) -> Path:
    """Writes two sound tracks: the first is silent, the second has a click at 0.5 s."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in defaults]
        for stream, default in zip(streams, defaults, strict=True):
            stream.disposition = av.stream.Disposition.default if default else av.stream.Disposition(0)
        for number, stream in enumerate(streams):
            wave = (click(0.5, 1.0, 16_000) * 32_767 * number).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
            frame.sample_rate = 16_000
            container.mux(stream.encode(frame))
    return path


def test_the_default_track_is_read(tmp_path):
    path = write_tracks(tmp_path / "second.mka", (False, True))
    assert first_loud(sound_of(path)) == pytest.approx(0.5, abs=0.001)
    assert remarks_of(path)[OTHER_TRACKS] == "second.mka: sound track 2 of 2 is read"
    assert len(sound_of(write_tracks(tmp_path / "first.mka", (True, False)))) == 0


def test_default_track_without_a_decoder_is_skipped(tmp_path):
    path = write_tracks(tmp_path / "a.mka", (True, False))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"A_PCM/INT/LIT", b"A_XYZ/INT/LIT", 1))
    assert first_loud(sound_of(path)) == pytest.approx(0.5, abs=0.001)
    assert Remark(OTHER_TRACKS, "a.mka: sound track 2 of 2 is read") in [
        Remark(*pair) for pair in remarks_of(path).items()
    ]


@pytest.mark.parametrize(("channels", "place"), [(1, 0), (2, 1), (6, 2), (6, 4), (8, 7), (9, 8), (16, 3), (24, 20)])
def test_a_voice_on_any_channel_is_kept_at_its_level(tmp_path, channels, place):
    import wave

    path = tmp_path / "a.wav"
    samples = np.zeros((16_000, channels), "<i2")
    samples[:, place] = 9_000 * np.sin(np.arange(16_000) * 0.2)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    audio = sound_of(path)
    assert np.sqrt(np.mean(np.square(audio.astype(float)))) == pytest.approx(9_000 / 2**0.5, rel=0.02)


def write_floats(path: Path, samples: np.ndarray) -> Path:
    """Writes a WAV file of 32-bit floats at 48 kHz."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], format="flt", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_non_finite_samples_do_not_change_the_others(tmp_path):
    wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    good = sound_of(write_floats(tmp_path / "good.wav", wave)).astype(int)
    wave[24_000:24_010], wave[30_000] = np.nan, -np.inf
    path = write_floats(tmp_path / "bad.wav", wave)
    bad = sound_of(path).astype(int)
    assert np.abs(good - bad)[:7_900].max() <= 1
    assert np.abs(bad).max() <= 32_768 * 0.52
    assert remarks_of(path)[NOT_FINITE] == "11 samples"
    everything = write_floats(tmp_path / "all.wav", np.full(48_000, np.nan))
    assert {NOT_FINITE, SILENT, NO_AUDIO} <= set(remarks_of(everything))


@pytest.mark.parametrize("block", [1, 5_000, 1 << 15])
def test_sound_that_is_resampled_in_blocks_is_as_if_resampled_at_once(tmp_path, monkeypatch, block):
    wave = np.random.default_rng(0).uniform(-0.4, 0.4, 100_000).astype(np.float32)
    path = write_floats(tmp_path / "a.wav", wave)
    expected = np.rint(32_768 * soxr.resample(wave, 48_000, 16_000))
    monkeypatch.setattr(sound, "BLOCK", block)
    np.testing.assert_allclose(sound_of(path), expected, atol=1)


def test_samples_of_several_types_in_one_run_keep_their_level():
    run = sound._Run(0.0, 16_000, ("FC",))
    for samples in (np.full((1, 10), 16_384, np.int16), np.full((1, 10), 0.25, np.float32), np.full((1, 10), np.nan)):
        run.add(samples)
    np.testing.assert_array_equal(run.finish(), [[0.5] * 10 + [0.25] * 10 + [0.0] * 10])
    assert run.bad_samples == 10
    assert run.end == pytest.approx(30 / 16_000)


def test_floats_beyond_full_scale_are_not_clipped(tmp_path):
    path = write_floats(tmp_path / "loud.wav", 4 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000))
    audio = sound_of(path).astype(float)
    assert np.sqrt(np.mean(np.square(audio))) == pytest.approx(32_768 / 2**0.5, rel=0.02)  # more if clipped
    assert TOO_LOUD in remarks_of(path)


@pytest.mark.skipif(not MEDIA.is_dir(), reason="needs the sample clips next to the repository")
@pytest.mark.parametrize("path", sorted(MEDIA.glob("*.wav")), ids=lambda path: path.name)
def test_real_speech_is_read(path):
    assert len(sound_of(path)) == pytest.approx((path.stat().st_size - 44) / 2, rel=0.02)


def test_implausible_sample_rate_is_reported(tmp_path):
    data = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 236, b"WAVE", b"fmt ", 16, 1, 1, 1, 2, 2, 16, b"data", 200)
    (tmp_path / "a.wav").write_bytes(data + bytes(range(200)))
    with pytest.raises(ClipError, match=r"sample rate that cannot be right; .*\(a.wav: 1 Hz\)"):
        read_clip(ClipSource("a", tmp_path / "a.wav"), ClipOptions(detector="haar"))
