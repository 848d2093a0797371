"""Follows each person's face through a clip."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_prep.clips.faces import Box, Face, overlap

SHRINKING = 0.5
"""A face that is smaller than this share of another one is not the same person's."""

REACH, SPEED = 1.0, 2.0
"""How far a face can move between two pictures, in sides: at once, and per second between them."""

PERSON = 0.2
"""Share of the pictures, two at least, in which a face must be seen to count as a person: false boxes are brief."""

Track = dict[int, Face]
"""A person's faces, by the index of their picture."""


def find_tracks(candidates: Sequence[Sequence[Face]], seconds: np.ndarray) -> list[Track]:
    """Joins the faces of a clip to tracks of one person each.

    In each picture, faces and tracks are paired by overlap, size and distance, best pairs first. A track continues
    after pictures in which its face is hidden or turned away; the longer the gap, the farther the face may have moved.

    Args:
        candidates: the faces found in each picture, in any common unit.
        seconds: float [N], the times of the pictures.

    Returns:
        The tracks, the one that is seen longest and largest first: ordered by the sum of its faces' sides, weighted
        with the detector's scores. A single false detection therefore never precedes a face that is seen throughout.
    """
    tracks: list[Track] = []
    for n, faces in enumerate(candidates):
        pairs = []
        for track in tracks:
            last = max(track)
            reach = REACH + SPEED * float(seconds[n] - seconds[last])
            pairs += [(_likeness(track[last].box, face.box, reach), track, k) for k, face in enumerate(faces)]
        taken: dict[int, Face] = {}
        for likeness, track, k in sorted(pairs, key=lambda pair: -pair[0]):
            if likeness > -np.inf and n not in track and k not in taken:
                track[n] = taken[k] = faces[k]
        for k in sorted(range(len(faces)), key=lambda k: -faces[k].box.side):
            if k not in taken and not any(_same_place(faces[k].box, face.box) for face in taken.values()):
                taken[k] = faces[k]
                tracks.append({n: faces[k]})
    return sorted(tracks, key=lambda track: -sum(face.box.side * face.score for face in track.values()))


def people(tracks: Sequence[Track], pictures: int) -> list[Track]:
    """The tracks that are seen often enough to be a person's, in the same order."""
    return [track for track in tracks if len(track) >= max(2, PERSON * pictures)] or list(tracks[:1])


@dataclasses.dataclass
class Company:
    """The people of a clip that is read in stretches, each of whom keeps a number.

    Attributes:
        last: by number, the box of each person's face when last seen, and the second.
    """

    last: dict[int, tuple[Box, float]] = dataclasses.field(default_factory=dict)

    @classmethod
    def restore(cls, rows: Sequence[Sequence[float]]) -> "Company":
        """The people that `rows` described."""
        return cls({int(number): (Box(x, y, side), second) for number, x, y, side, second in rows})

    def rows(self) -> list[list[float]]:
        """A row of plain numbers for each person: the person's number, the box, the second."""
        return [[number, *box, second] for number, (box, second) in self.last.items()]

    def numbers(self, tracks: Sequence[Track], seconds: np.ndarray) -> list[int]:
        """The number of each track: that of a person last seen nearby in earlier stretches, else the next free one.

        Args:
            tracks: one for each person.
            seconds: float [N], the times of the pictures since the clip's start.
        """
        pairs = []
        for k, track in enumerate(tracks):
            first = min(track)
            for number, (box, second) in self.last.items():
                reach = REACH + SPEED * max(0.0, float(seconds[first]) - second)
                pairs.append((_likeness(box, track[first].box, reach), k, number))
        found: dict[int, int] = {}
        for likeness, k, number in sorted(pairs, reverse=True):
            if likeness > -np.inf and k not in found and number not in found.values():
                found[k] = number
        for k in range(len(tracks)):
            found.setdefault(k, max([0, *self.last, *found.values()]) + 1)
        for k, track in enumerate(tracks):
            self.last[found[k]] = Box(*map(float, track[max(track)].box)), float(seconds[max(track)])
        return [found[k] for k in range(len(tracks))]


def _likeness(last: Box, box: Box, reach: float) -> float:
    """How likely a box shows the face last seen at `last`; -inf if it cannot."""
    smaller, larger = sorted((last.side, box.side))
    distance = float(np.hypot(*np.subtract(box.centre, last.centre))) / larger
    if smaller <= SHRINKING * larger or distance > reach:
        return -np.inf
    return overlap(last, box) + smaller / larger - distance


def _same_place(a: Box, b: Box) -> bool:
    """Whether two boxes of one picture are the same face, found twice."""
    return a.holds_centre_of(b) or b.holds_centre_of(a)
