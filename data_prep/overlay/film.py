"""Writes a clip again with what a model says of it drawn in, at the clip's own timestamps and with its sound."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from data_prep.errors import ClipError
from data_prep.media.container import Damage, decode, open_media
from data_prep.media.pictures import read_pictures
from data_prep.media.timeline import Timeline, rate_of, read_timeline, track_packets
from data_prep.media.tracks import choose_tracks
from data_prep.overlay.panel import Course, Painter
from emi_jax.files import whole_file

COPIED = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
"""Codecs whose sound is copied as it is; that of others is encoded as AAC."""
LEAST_LINE, MOST_PIXELS = 16, 1280
"""Least pixels of a line of the panel; most of a picture's longer side, unless the panel needs more."""


def write_overlay(source: Path, target: Path, course: Course) -> None:
    """Writes an mp4: H.264 with the panel and the outline of the face, and the sound of the clip.

    Args:
        source: the clip.
        target: of the film; it appears complete or not at all.
        course: what is drawn.

    Raises:
        ClipError: the clip has no pictures, or cannot be read or written.
    """
    timeline = read_timeline(source)
    if not len(timeline.stamps):
        raise ClipError(source, "has no pictures to draw into")
    try:
        with (
            open_media(source) as original,
            whole_file(target) as partial,
            av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as film,
        ):
            _write(source, timeline, original, film, course)
    except (av.FFmpegError, ValueError) as error:
        raise ClipError(source, f"cannot be written with an overlay ({error})") from error


def _write(source: Path, timeline: Timeline, original: InputContainer, film: OutputContainer, course: Course) -> None:
    stream = choose_tracks(original).video
    assert stream is not None  # it has pictures
    base = stream.time_base or Fraction(1, 1000)
    start = round(timeline.start / base)
    clock = dict(zip(timeline.stamps.tolist(), timeline.seconds.tolist(), strict=True))
    video = film.add_stream("libx264", rate=rate_of(stream), options={"preset": "veryfast", "crf": "20"})
    video.codec_context.time_base = base
    sound = _sound(original, timeline, film)
    waiting = next(sound, None)
    painter, size, last = None, (0, 0), -1
    for stamp, picture in read_pictures(source, timeline.stamps, [], timeline.joined):
        if painter is None:
            size = _size(picture, course.lines)
            painter = Painter(course, size[1])
            video.width, video.height, video.pix_fmt = size[0] + painter.width, size[1], "yuv420p"
        if stamp <= last:  # stored out of order: an encoder takes them in order only
            continue
        last = stamp
        drawn = painter.paint(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), clock[stamp])
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(drawn), format="rgb24")
        frame.pts, frame.time_base = stamp - start, base
        film.mux(video.encode(frame))
        while waiting is not None and waiting[0] <= clock[stamp]:  # side by side, so that nothing piles up in memory
            film.mux(waiting[1])
            waiting = next(sound, None)
    film.mux(video.encode())
    while waiting is not None:
        film.mux(waiting[1])
        waiting = next(sound, None)


def _size(picture: np.ndarray, lines: int) -> tuple[int, int]:
    """Width and height, both even, at which a picture is shown next to a panel of so many lines."""
    height, width = picture.shape[:2]
    scale = max(min(1.0, MOST_PIXELS / max(height, width)), LEAST_LINE * lines / height)
    return 2 * round(width * scale / 2), 2 * round(height * scale / 2)


def _sound(original: InputContainer, timeline: Timeline, film: OutputContainer) -> Iterator[tuple[float, list[Packet]]]:
    """Adds a track for the clip's sound and yields the packets to write, with their second.

    The first `next` adds the track.
    """
    track = choose_tracks(original).audio
    if track is None:
        return
    packets = track_packets(original, "audio", timeline.joined)
    if track.codec_context.codec.canonical_name in COPIED:
        copied, base = film.add_stream_from_template(track), track.time_base or Fraction(1)
        shift = round(timeline.start / base)
        for packet in packets:
            if packet.dts is None or packet.pts is None:
                continue
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copied
            yield float(packet.dts * base), [packet]
        return
    rate = track.codec_context.sample_rate
    encoded = film.add_stream("aac", rate=rate if rate in encodable_rates() else 48_000, layout="stereo")
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=encoded.codec_context.sample_rate)
    for packet in packets:
        for heard in decode(packet, Damage()):
            for frame in resampler.resample(heard):
                second = (frame.time or 0.0) - timeline.start
                if frame.pts is not None and frame.time_base:
                    frame.pts -= round(timeline.start / frame.time_base)
                yield second, list(encoded.encode(frame))
    yield float("inf"), list(encoded.encode())


def encodable_rates() -> tuple[int, ...]:
    """The sample rates of AAC."""
    return tuple(av.Codec("aac", "w").audio_rates or ())
