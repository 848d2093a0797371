import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import av
import numpy as np
import pytest

from data_prep.clips.clip import ClipSource, read_clip
from data_prep.clips.options import ClipOptions
from data_prep.corpora.endings import MEDIA_ENDINGS
from data_prep.errors import ClipError
from data_prep.media.container import open_media
from data_prep.media.formats import FORMATS
from data_prep.media.remarks import WRONG_ENDING
from tests.data_prep.conftest import tone, write_video
from tests.data_prep.media.clapper import read_clapper, write_clapper

ROOT = Path(__file__).resolve().parents[3]


def write_wav(path: Path) -> Path:
    return write_video(path, None, sound=tone(0.5), codecs=("", "pcm_s16le"))


def huge_png(side: int) -> bytes:
    """A PNG of side x side zeros, compressed to about a thousandth."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + 3 * side)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("wrapped", [False, True])
def test_probing_a_huge_picture_needs_little_memory(tmp_path, wrapped):
    path = tmp_path / "clip.mov"
    path.write_bytes(png := huge_png(9_000))
    if wrapped:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("png", rate=25)
            stream.width = stream.height = 9_000
            stream.pix_fmt = "rgb24"
            container.start_encoding()
            packet = av.Packet(png)
            packet.stream, packet.pts, packet.dts = stream, 0, 0
            container.mux(packet)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from data_prep.clips.clip import ClipSource, read_clip\n"
        "from data_prep.clips.options import ClipOptions\n"
        "import data_prep.clips.detectors as detectors; detectors.load_detector(detectors.HAAR)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_clip(ClipSource('a', Path(sys.argv[1])), ClipOptions(detector='haar'))\n"
        "except Exception as error: print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    *error, grown = done.stdout.splitlines()
    assert "clip.mov" in error[0]
    assert int(grown) < 60  # MiB; the decoded picture takes 232


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile other.wav\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nother.wav\n#EXT-X-ENDLIST\n",
        "<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'><Period><AdaptationSet><Representation>"
        "<BaseURL>other.wav</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    ],
    ids=["concat", "hls", "dash", "sdp"],
)
@pytest.mark.parametrize("ending", ["mp4", "wav"])
def test_playlist_does_not_open_other_files(tmp_path, text, ending):
    write_wav(tmp_path / "other.wav")
    path = tmp_path / f"clip.{ending}"
    path.write_text(text)
    with pytest.raises(ClipError, match="not a readable media file"), open_media(path):
        pass


@pytest.mark.parametrize(
    "name", ["12:30.wav", "concat:other.wav", "subfile,,start,0,end,9,,:other.wav", "data:x.wav", "-x.wav", "a%03d.wav"]
)
def test_names_are_not_interpreted_as_protocols(tmp_path, monkeypatch, name):
    write_wav(tmp_path / "plain.wav").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    example, _, _ = read_clip(ClipSource("a", Path(name)), ClipOptions(detector="haar"))
    assert len(example["audio"]) == 8_000


def test_file_name_that_is_not_utf8_is_opened(tmp_path):
    name = os.fsdecode(b"caf\xe9.wav")
    write_wav(tmp_path / "plain.wav").rename(tmp_path / name)
    assert read_clapper(tmp_path / name).length == 0.5


def test_every_media_ending_belongs_to_a_supported_format():
    known = {
        ending
        for name, more in FORMATS.items()
        for ending in more.split() + list(av.ContainerFormat(name, "r").extensions)
    }
    assert {ending[1:] for ending in MEDIA_ENDINGS} <= known


@pytest.mark.parametrize("content", [b"this is no video at all", bytes(4096)])
def test_broken_files_are_named(tmp_path, content):
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(ClipError, match=r"broken\.mp4: not a readable media file"), open_media(path):
        pass


def test_path_that_is_not_a_file_is_named(tmp_path):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "link.mp4").symlink_to("/nowhere/a.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 1632292\n"
    (tmp_path / "pointer.mp4").write_text(pointer)
    (tmp_path / "empty.mp4").touch()
    reasons = {
        "nowhere": "no such file", "link": "is a link to", "folder": "is a folder", "pipe": "is a pipe",
        "pointer": "is a pointer file", "empty": "is an empty file",
    }  # fmt: skip
    for name, reason in reasons.items():
        with pytest.raises(ClipError, match=f"{name}.mp4: {reason}"), open_media(tmp_path / f"{name}.mp4"):
            pass


@pytest.mark.parametrize("format", ["mp4", "matroska", "avi", "mpegts", "asf", "mpeg", "ogg", "wav"])
def test_ending_that_does_not_match_gets_a_remark(tmp_path, format):
    usual = {"matroska": "mkv", "mpegts": "m2ts", "asf": "wmv", "mpeg": "vob", "ogg": "opus"}.get(format, format)
    video = None if format in ("ogg", "wav") else "mpeg2video" if format == "mpeg" else "mpeg4"
    audio = {"ogg": "libopus", "wav": "pcm_s16le", "mpeg": "mp2"}.get(format, "libmp3lame")
    for ending, wrong in ((usual, False), ("flv", True)):
        path = write_clapper(tmp_path / f"a.{ending}", video, audio, format=format)
        assert (WRONG_ENDING in read_clapper(path).remarks) is wrong


def test_missing_sound_or_pictures_are_absent(tmp_path):
    assert read_clapper(write_clapper(tmp_path / "v.mp4", audio=None)).length == 0
    assert read_clapper(write_clapper(tmp_path / "a.mp4", video=None)).pictures == 0
    assert np.isnan(read_clapper(write_clapper(tmp_path / "b.mp4", video=None)).flash)
