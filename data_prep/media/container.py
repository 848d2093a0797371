"""Opens media files with PyAV (FFmpeg), with limits that protect against malicious files."""

import contextlib
import dataclasses
import errno
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet

from data_prep.errors import ClipError
from data_prep.files import unusable
from data_prep.media.formats import FORMATS

SAMPLE_RATE = 16_000
MOST_PIXELS = 1 << 26
"""Most pixels of a picture, 8192 x 8192; larger ones are not decoded."""
LIMITS = {
    "max_pixels": str(MOST_PIXELS),
    "format_whitelist": ",".join(FORMATS),
    "protocol_whitelist": "file",
}
"""Options for opening, when FFmpeg already decodes. They keep playlists and protocols from opening other files."""
HARMLESS = ("swscaler", "Estimating duration from bitrate")
"""Parts of warnings that FFmpeg also gives for intact files."""


@dataclasses.dataclass
class Damage:
    """Counts packets that could not be decoded, or only in part."""

    packets: int = 0


@contextlib.contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """Opens a media file for reading.

    Raises:
        ClipError: the file is missing, is not a regular file, or is not a media file that FFmpeg can read.
    """
    if reason := unusable(path):  # opening a pipe would block
        raise ClipError(path, reason)
    try:
        # An absolute path, since FFmpeg interprets a name with a colon as a protocol.
        container = av.open(str(path.absolute()), options=LIMITS, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise ClipError(path, f"not a readable media file ({_reason(error)})") from error
    with container:
        try:
            yield container
        except av.FFmpegError as error:
            raise ClipError(path, f"cannot be read to its end ({_reason(error)})") from error


def decode(packet: Packet, damage: Damage) -> list:
    """The frames of a packet that can be decoded; an empty packet flushes the decoder."""
    try:
        frames = packet.decode()
    except av.FFmpegError:
        damage.packets += 1
        return []
    damage.packets += sum(bool(getattr(frame, "is_corrupt", False)) for frame in frames)
    return frames


@contextlib.contextmanager
def ffmpeg_warnings() -> Iterator[list[str]]:
    """Collects FFmpeg's warnings in this thread; the list is filled on leaving the context."""
    messages: list[str] = []
    level = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as logs:
            yield messages
    finally:
        av.logging.set_level(level)
    texts = dict.fromkeys(f"{part}: {text.strip()}" for _, part, text in logs)
    messages += [text for text in texts if not any(part in text for part in HARMLESS)]


def _reason(error: Exception) -> str:
    if getattr(error, "errno", None) == errno.EINVAL:  # raised for a format outside FORMATS
        return "an image, a playlist or another format that is not read"
    return getattr(error, "strerror", None) or str(error)
