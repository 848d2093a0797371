import struct
from pathlib import Path

import numpy as np
import pytest

from data_prep.clips.media import Damage, open_media, picture_stamps, read_audio, read_pictures, seconds_of
from data_prep.errors import ClipError
from data_prep.synthetic.video import write_mp4
from tests.data_prep.conftest import tone, write_video

MEDIA = Path(__file__).resolve().parents[4] / "shared" / "media"


def _times(path):
    with open_media(path) as container:
        return seconds_of(container, picture_stamps(container))


def _stamps(path):
    with open_media(path) as container:
        return picture_stamps(container)


@pytest.mark.parametrize("claimed_rate", [5, 25, 1000])
def test_times_are_the_timestamps_whatever_rate_is_claimed(tmp_path, claimed_rate):
    shown = [0.0, 0.04, 0.2, 0.24, 0.9, 1.5]
    path = write_video(tmp_path / "clip.mp4", shown, claimed_rate)
    np.testing.assert_allclose(_times(path), shown, atol=1e-3)


def test_only_wanted_pictures_are_given_and_they_are_the_right_ones(tmp_path):
    path = write_video(tmp_path / "clip.mp4", np.arange(40) / 25)
    stamps = _stamps(path)[[0, 7, 30, 39]]
    pictures = dict(read_pictures(path, stamps, Damage()))
    assert list(pictures) == stamps.tolist()
    assert [round(float(picture.mean()) / 5) for picture in pictures.values()] == [0, 7, 30, 39]


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("clip.mp4", ("libx264", "aac")),
        ("clip.mov", ("libx264", "aac")),
        ("clip.mkv", ("libx264", "libmp3lame")),
        ("clip.webm", ("libvpx-vp9", "libopus")),
        ("clip.avi", ("mpeg4", "libmp3lame")),
        ("clip.flv", ("libx264", "aac")),
    ],
)
def test_containers(tmp_path, name, codecs):
    path = write_video(tmp_path / name, np.arange(20) / 20, 20, tone(1.0), codecs=codecs)
    times = _times(path)
    assert len(times) == pytest.approx(20, abs=1)
    np.testing.assert_allclose(np.diff(times)[1:], 0.05, atol=2e-3)  # the AVI writer moves the first picture
    assert len(list(read_pictures(path, _stamps(path), Damage()))) == len(times)
    audio = read_audio(path, 12.0, Damage())
    assert audio.dtype == np.int16
    assert len(audio) == pytest.approx(16_000, abs=2_500)
    spectrum = np.abs(np.fft.rfft(audio[4000:12000]))
    assert np.argmax(spectrum) / 0.5 == pytest.approx(440, abs=5)


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.mp3", "libmp3lame"), ("a.flac", "flac")])
def test_sound_files(tmp_path, name, codec):
    path = write_video(tmp_path / name, None, sound=tone(0.7), codecs=("", codec))
    audio = read_audio(path, 12.0, Damage())
    assert len(audio) == pytest.approx(11_200, abs=1_500)
    assert np.std(audio / 32768) == pytest.approx(0.5 / 2**0.5, rel=0.1)
    assert len(_stamps(path)) == 0


def test_sound_is_capped(tmp_path):
    path = write_video(tmp_path / "a.wav", None, sound=tone(2.0), codecs=("", "pcm_s16le"))
    assert len(read_audio(path, 0.5, Damage())) == 8_000


def test_sound_that_starts_later_is_preceded_by_silence(tmp_path):
    path = write_video(
        tmp_path / "clip.mkv", np.arange(30) / 25, sound=tone(0.5), sound_start=0.5, codecs=("libx264", "pcm_s16le")
    )
    audio = read_audio(path, 12.0, Damage())
    assert len(audio) == pytest.approx(16_000, abs=50)
    assert np.abs(audio[:7_900]).max() == 0
    assert np.abs(audio[8_100:]).max() > 10_000


def test_a_picture_that_says_it_lies_on_its_side_is_turned_up(tmp_path):
    path = tmp_path / "phone.mp4"
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = 200
    write_mp4(path, np.stack([picture] * 3), None, fps=25, rate=16_000)
    one, identity = 1 << 16, [1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30]
    clockwise = [0, one, 0, -one, 0, 0, 64 * one, 0, 1 << 30]  # in the track's header
    data = path.read_bytes()
    header = data.index(b"tkhd")
    at = data.index(struct.pack(">9i", *identity), header)
    path.write_bytes(data[:at] + struct.pack(">9i", *clockwise) + data[at + 36 :])
    turned = next(picture for _, picture in read_pictures(path, _stamps(path), Damage()))
    assert turned.shape == (96, 64, 3)
    assert turned[:40].min() > 150
    assert turned[56:].max() < 50


def test_no_sound_and_no_pictures(tmp_path):
    assert len(read_audio(write_video(tmp_path / "v.mp4", [0.0, 0.1]), 12.0, Damage())) == 0
    assert len(_stamps(write_video(tmp_path / "a.mp4", None, sound=tone(0.3)))) == 0


def test_damage_is_counted_and_the_rest_is_read(tmp_path):
    path = write_video(tmp_path / "clip.mkv", np.arange(50) / 25, sound=tone(2.0), codecs=("mjpeg", "pcm_s16le"))
    data = bytearray(path.read_bytes())
    starts = [k for k in range(len(data) - 1) if data[k : k + 2] == b"\xff\xd8"]
    for start in starts[5:8]:
        end = data.index(b"\xff\xd9", start)
        data[start:end] = bytes(end - start)
    path.write_bytes(data)
    damage = Damage()
    assert len(list(read_pictures(path, _stamps(path), damage))) == 47
    assert damage.packets == 3


@pytest.mark.parametrize("content", [b"", b"this is no video at all", bytes(4096)])
def test_broken_files_are_named(tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(ClipError, match=r"broken\.mp4"):
        _stamps(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ClipError, match=r"nowhere.mp4: no such file"):
        _stamps(tmp_path / "nowhere.mp4")


@pytest.mark.skipif(not MEDIA.is_dir(), reason="needs the sample clips beside the repository")
@pytest.mark.parametrize("path", sorted(MEDIA.glob("*.wav")), ids=lambda path: path.name)
def test_real_speech(path):
    audio = read_audio(path, 12.0, Damage())
    assert len(audio) == pytest.approx((path.stat().st_size - 44) / 2, rel=0.02)
