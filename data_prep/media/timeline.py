"""One clock for the pictures and sound of a file: continuous timestamps, and the position of second 0.

Second 0 is the earliest presented timestamp of the tracks that are read. MP4 and Matroska define their own zero:
anything before it is not presented, as in media players.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet

from data_prep.errors import ClipError
from data_prep.media.claims import LEAPS, claimed_ends, file_remarks, rate_remarks, shown_until
from data_prep.media.container import Damage, decode, open_media
from data_prep.media.joints import Joints
from data_prep.media.remarks import BROKEN_OFF, LONG, NO_TIMESTAMPS, RESTARTED, Remark
from data_prep.media.tracks import Tracks, choose_tracks, subtitle_remarks, track_remarks

BEYOND = 8
"""Number of consecutive packets beyond the limit after which reading stops; a single timestamp may be corrupted."""
EXACT = ("mov", "matroska", "wav", "flac")
"""Formats in which reading may start at a later second; their timestamps do not depend on what came before."""
PREROLL = 1.0
"""Seconds before that, from which decoders and resamplers start."""
USUAL_RATE = Fraction(25)
"""Pictures per second of a stream that has neither timestamps nor a claimed rate."""


@dataclasses.dataclass(frozen=True)
class Timeline:
    """When a file's pictures and sound are presented.

    Attributes:
        start: second 0 of the clip, in seconds of the file's continuous timestamps.
        stamps: continuous timestamps of the pictures within the limit, int64 [N], ascending, in the stream's time base.
        seconds: the same in seconds since `start`, float64 [N].
        claimed: ends of the tracks according to the header, in seconds since `start`, see `claims.claimed_ends`.
        has_sound: whether there is an audio track that can be decoded.
        joined: whether timestamps are shifted, because recordings were joined.
        track_remarks: remarks on the choice of the video and audio track.
        remarks: remarks on the file, its timestamps and pictures.
        duration: length in seconds according to the header or estimated by FFmpeg; 0 if unknown.
        since: second from which pictures are listed and sound is read.
    """

    start: float
    stamps: np.ndarray
    seconds: np.ndarray
    claimed: Mapping[str, float]
    has_sound: bool
    joined: bool
    track_remarks: Mapping[str, tuple[Remark, ...]]
    remarks: tuple[Remark, ...]
    duration: float = 0.0
    since: float = 0.0

    @property
    def length(self) -> float:
        """The length of the whole file in seconds by its pictures and its header; 0 if unknown."""
        return max(self.duration, shown_until(self.seconds))

    def between(self, since: float, until: float) -> "Timeline":
        """A part of it. Only the part from second 0 on has the remarks."""
        inside = slice(*np.searchsorted(self.seconds, (since, until)).tolist())
        stamps, seconds = self.stamps[inside], self.seconds[inside]
        if since:
            choice = dict.fromkeys(self.track_remarks, ())
            return dataclasses.replace(
                self, stamps=stamps, seconds=seconds, claimed={}, track_remarks=choice, remarks=(), since=since
            )
        claimed = {kind: min(end, until) for kind, end in self.claimed.items()}
        return dataclasses.replace(self, stamps=stamps, seconds=seconds, claimed=claimed)


def read_timeline(path: Path, max_seconds: float = math.inf) -> Timeline:
    """Reads the timestamps of a file; decodes its pictures only if their packets have no timestamps.

    Args:
        path: the media file.
        max_seconds: later pictures are not listed.

    Raises:
        ClipError: the file is missing or not a media file.
    """
    remarks: list[Remark] = []
    with open_media(path) as container:
        tracks = choose_tracks(container)
        remarks += [*file_remarks(container), *subtitle_remarks(container)]
        joints = Joints()
        scan = _scan(container, tracks, max_seconds, joints)
        if not scan.complete:
            with open_media(path) as again:
                scan.stamps = _decoded_stamps(again, joints.shifted, max_seconds, remarks)
        base = float(tracks.video.time_base or 0) if tracks.video is not None else 0.0
        stamps = np.unique(np.array(scan.stamps, np.int64))
        if {"mov", "matroska"} & set(container.format.name.split(",")):
            stamps = stamps[stamps >= 0]
            scan.sound_start = max(scan.sound_start, 0.0)
        start = min([scan.sound_start, *(stamps[:1] * base)])
        start = float(start) if math.isfinite(start) else 0.0
        seconds = stamps * base - start
        kept = seconds < max_seconds
        if joints.places:
            places = ", ".join(f"{place - start:.1f} s" for place in joints.places[:3])
            remarks.append(Remark(RESTARTED, f"{path.name}: at {places}"))
        if joints.error:
            remarks.append(Remark(BROKEN_OFF, f"{path.name}: {joints.error}"))
        if not kept.all():
            remarks.append(long_remark(container, max_seconds))
        remarks += rate_remarks(container, tracks.video, seconds[kept])
        claimed = {kind: min(end - start, max_seconds) for kind, end in claimed_ends(container, tracks).items()}
        choice = {kind: tuple(track_remarks(container, kind)) for kind in ("video", "audio")}
        duration = (container.duration or 0) / av.time_base
    return Timeline(
        start=start,
        stamps=stamps[kept],
        seconds=seconds[kept],
        claimed=claimed,
        has_sound=tracks.audio is not None,
        joined=joints.shifted,
        track_remarks=choice,
        remarks=tuple(remarks),
        duration=duration,
    )


def track_packets(container: InputContainer, kind: str, joined: bool, since: float = 0.0) -> Iterator[Packet]:
    """Yields the packets of the chosen video or audio track, with timestamps as in the file's Timeline.

    Args:
        container: an open file.
        kind: video or audio.
        joined: `Timeline.joined` of the file, which depends on both tracks.
        since: second of the file's timestamps; earlier packets are left out where the format allows it.
    """
    tracks = choose_tracks(container)
    stream = tracks.video if kind == "video" else tracks.audio
    if stream is None:
        return
    if joined:
        yield from (p for p in continuous_packets(container, tracks, Joints()) if p.stream.index == stream.index)
    else:
        if since > PREROLL and stream.time_base and set(EXACT) & set(container.format.name.split(",")):
            _skip(container, stream, int((since - PREROLL) / stream.time_base))
        yield from _packets(container, [stream], Joints())


def _skip(container: InputContainer, stream: Any, target: int) -> None:
    """Moves an open file to a timestamp of a stream, if nothing after it is lost; otherwise leaves it at its start.

    A search that fails, as in a damaged index, leaves a file anywhere: it is tried on the file opened once more.
    """
    with contextlib.suppress(ClipError), open_media(Path(container.name)) as trial:
        other = trial.streams[stream.index]
        trial.seek(target, stream=other)
        first = next((packet for packet in trial.demux(other) if packet.size), None)
        if first is not None and first.pts is not None and first.pts <= target:
            container.seek(target, stream=stream)


def continuous_packets(container: InputContainer, tracks: Tracks, joints: Joints) -> Iterator[Packet]:
    """Yields the packets of both tracks with continuous timestamps, then empty packets that flush the decoders.

    In joined recordings, timestamps restart or jump. Each recording is placed after the end of the previous one, with
    the same shift for both tracks.

    Args:
        container: an open file.
        tracks: the tracks that are read.
        joints: records where timestamps restart, and the error that ended the packets early, if any.
    """
    joints.leaps = bool(container.format.flags & LEAPS)
    bases = base_of(tracks)
    for packet in _packets(container, [stream for stream in tracks if stream is not None], joints):
        if packet.size and (base := bases[packet.stream_index]):
            shift = round(joints.shift(packet, base) / base)
            if shift and packet.pts is not None:
                packet.pts += shift
            if shift and packet.dts is not None:
                packet.dts += shift
        yield packet


def _packets(container: InputContainer, streams: list, joints: Joints) -> Iterator[Packet]:
    """Yields the packets of streams, up to an error of the container, then empty packets that flush the decoders."""
    try:
        if streams:
            yield from container.demux(streams)
        return
    except av.FFmpegError as error:
        joints.error = error.strerror or str(error)
    for stream in streams:
        packet = Packet()
        packet.stream = stream
        yield packet


def stamped(stream: av.VideoStream, frames: Iterable[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yields (timestamp, frame); a frame without a timestamp follows the previous one at the claimed frame rate."""
    step = max(1, round(1 / (rate_of(stream) * (stream.time_base or Fraction(1, 1000)))))
    following = 0
    for frame in frames:
        stamp = following if frame.pts is None else frame.pts
        following = stamp + step
        yield stamp, frame


def base_of(tracks: Tracks) -> dict[int, float]:
    """The time base of each track in seconds per unit, by stream index; 0 if unknown."""
    return {stream.index: float(stream.time_base or 0) for stream in tracks if stream is not None}


def rate_of(stream: av.VideoStream) -> Fraction:
    """Pictures per second that a stream claims, else USUAL_RATE."""
    return stream.guessed_rate or stream.average_rate or USUAL_RATE


def long_remark(container: InputContainer, max_seconds: float) -> Remark:
    """The remark that a file is read only up to max_seconds, with its length if the header gives one."""
    seconds = (container.duration or 0) / av.time_base
    length = f"{seconds:.1f} s, " if seconds > max_seconds else ""
    return Remark(LONG, f"{Path(container.name).name}: {length}read to {max_seconds:g} s")


@dataclasses.dataclass
class _Scan:
    """Timestamps of the pictures, whether every picture has one, and the start of the sound in seconds."""

    stamps: list[int]
    complete: bool = True
    sound_start: float = math.inf


def _scan(container: InputContainer, tracks: Tracks, max_seconds: float, joints: Joints) -> _Scan:
    scan, earliest, beyond, bases = _Scan([]), math.inf, 0, base_of(tracks)
    sound = None if tracks.audio is None else tracks.audio.index
    for packet in continuous_packets(container, tracks, joints):
        if not packet.size or packet.is_discard or not (base := bases[packet.stream_index]):
            continue
        if packet.stream_index == sound:
            if scan.sound_start == math.inf:  # decoded, since decoders drop the priming samples
                times = (frame.time for frame in decode(packet, Damage()) if frame.time is not None)
                scan.sound_start = next(times, math.inf)
                earliest = min(earliest, scan.sound_start)
        elif packet.pts is None:
            scan.complete = False
        else:
            scan.stamps.append(packet.pts)
            earliest = min(earliest, packet.pts * base)
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is not None:
            beyond = beyond + 1 if stamp * base >= earliest + max_seconds else 0
        sound_is_known = sound is None or scan.sound_start < math.inf
        if beyond == BEYOND or (sound_is_known and (tracks.video is None or not scan.complete)):
            break
    if tracks.audio is not None and scan.sound_start == math.inf and tracks.audio.start_time is not None:
        scan.sound_start = float(tracks.audio.start_time * (tracks.audio.time_base or 0))
    return scan


def _decoded_stamps(container: InputContainer, joined: bool, max_seconds: float, remarks: list[Remark]) -> list[int]:
    """Timestamps of decoded pictures, for files whose packets have none (AVI, raw streams)."""
    stream = choose_tracks(container).video
    if stream is None or stream.time_base is None:
        return []
    missing, stamps = False, []
    frames = (frame for packet in track_packets(container, "video", joined) for frame in decode(packet, Damage()))
    for stamp, frame in stamped(stream, frames):
        missing |= frame.pts is None
        stamps.append(stamp)
        if float((stamp - stamps[0]) * stream.time_base) > max_seconds + 1:
            break
    if missing:
        remarks.append(Remark(NO_TIMESTAMPS, f"{Path(container.name).name}: {float(rate_of(stream)):g} per second"))
    return stamps
