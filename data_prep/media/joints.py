"""Detects where a file's timestamps restart because recordings were joined, and shifts the later ones."""

import dataclasses

from av.packet import Packet

BACK = 0.1
"""Least seconds by which a decoding timestamp must decrease to count as a restart."""
BACK_SHOWN = 1.0
"""The same for presentation timestamps, which decrease a little wherever pictures are coded out of order."""
AHEAD = 10.0
"""Least seconds of a forward jump that marks joined recordings, in formats that allow jumps; same as in FFmpeg."""


@dataclasses.dataclass
class _Track:
    """The state of a track, in shifted seconds.

    Attributes:
        end: end of its last packet by decoding time.
        end_before: end of the packet before that.
        shown: latest presentation end so far.
        shift: seconds added to its timestamps.
        restarts: how often its timestamps have restarted.
        undo: its state before a restart that the next packet has not confirmed yet.
    """

    end: float
    end_before: float
    shown: float
    shift: float
    restarts: int
    undo: "_Track | None" = None


class Joints:
    """Tracks the timestamps of a file's packets, in file order.

    Attributes:
        leaps: whether the format allows timestamps to jump ahead between recordings.
        places: seconds at which timestamps restart.
        shifted: whether any timestamp is shifted.
        error: the error that ended reading before the end of the file; "" if none.
    """

    def __init__(self) -> None:
        self.leaps = False
        self.places: list[float] = []
        self.shifted = False
        self.error = ""
        self._shifts = [0.0]
        self._tracks: dict[int, _Track] = {}

    def shift(self, packet: Packet, base: float) -> float:
        """Seconds to add to the timestamps of the next packet, which count units of `base` seconds."""
        track = self._tracks.get(packet.stream_index)
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None:
            return track.shift if track else self._shifts[-1]
        time, length = stamp * base, (packet.duration or 0) * base
        if track is None:
            at = time + self._shifts[-1]
            track = _Track(at, at, at, self._shifts[-1], len(self._shifts) - 1)
            self._tracks[packet.stream_index] = track
        self._undo_single(track, time)
        shown = time if packet.pts is None else packet.pts * base
        self._follow(track, time, shown, BACK_SHOWN if packet.dts is None else BACK)
        track.end_before, track.end = track.end, time + track.shift + length
        track.shown = max(track.shown, shown + track.shift + length)
        self.shifted |= track.shift != 0
        return track.shift

    def _undo_single(self, track: _Track, time: float) -> None:
        """Reverts a restart if the next packet continues the old times: a single timestamp was corrupted."""
        old, track.undo = track.undo, None
        if old is None:
            return
        error = abs(time + old.shift - old.end)
        if error > BACK_SHOWN or error > abs(time + track.shift - track.end):
            return
        others = [other.restarts for other in self._tracks.values() if other is not track]
        if track.restarts == len(self._shifts) - 1 > max(others, default=0):  # no other track has used this shift
            self._shifts.pop()
            self.places.pop()
        track.end, track.end_before, track.shown = old.end, old.end, old.shown
        track.shift, track.restarts = old.shift, old.restarts

    def _follow(self, track: _Track, time: float, shown: float, back: float) -> None:
        at = time + track.shift
        if (self.leaps and at - track.end > AHEAD) or at < min(track.end, track.end_before) - back:
            track.undo = dataclasses.replace(track)
            track.restarts += 1
            if track.restarts == len(self._shifts):  # the first track to restart sets the shift for both
                end = max(other.shown for other in self._tracks.values())
                self._shifts.append(end - shown)
                self.places.append(end)
            shift = self._shifts[track.restarts]
            fits = track.end - BACK_SHOWN <= time + shift <= track.end + AHEAD
            track.shift = shift if fits else track.end - time
        elif at < track.end - back:  # the previous packet's timestamp was an outlier
            track.end = track.end_before
