"""Stretches of a clip, read one after the other."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.clips.tracks import Company
from data_prep.media.timeline import Timeline, read_timeline
from emi_jax.inputs.pieces import TOLERANCE


@dataclasses.dataclass
class Stretch:
    """A stretch of a clip that is read in stretches of `ClipOptions.max_seconds`, since it may be longer than that.

    Attributes:
        start: second of the clip at which it starts.
        end: second at which the next one starts.
        timelines: the whole timelines of the clip's files, which are read with the first stretch.
        goes_on: whether the clip goes on after it, which is known once it has been read.
        company: the people seen so far.
    """

    start: float
    end: float
    timelines: dict[Path, Timeline] = dataclasses.field(default_factory=dict)
    goes_on: bool = False
    company: Company = dataclasses.field(default_factory=Company)

    @property
    def next(self) -> "Stretch":
        """The stretch that follows."""
        return Stretch(self.end, 2 * self.end - self.start, self.timelines, company=self.company)

    @property
    def bookmark(self) -> dict[str, Any]:
        """What another program needs to read on from here, JSON-able: start, end, and the people seen before."""
        return {"start": self.start, "end": self.end, "people": self.company.rows()}

    @classmethod
    def resume(cls, bookmark: Mapping[str, Any]) -> "Stretch":
        """The stretch that has this bookmark."""
        return cls(bookmark["start"], bookmark["end"], company=Company.restore(bookmark["people"]))

    @property
    def whole(self) -> bool:
        """Whether it is all of the clip."""
        return not self.start and not self.goes_on

    def timeline(self, path: Path) -> Timeline:
        """The timeline of one of the clip's files, within the stretch."""
        if path not in self.timelines:
            self.timelines[path] = read_timeline(path)
        timeline = self.timelines[path]
        self.goes_on |= bool((timeline.seconds >= self.end + TOLERANCE).any())
        return timeline.between(self.start, self.end)

    def hear_on(self, path: Path) -> None:
        """Notes that a file has sound after the stretch; a codec's filling of its last packet does not count."""
        self.goes_on |= self.timelines[path].claimed.get("audio", math.inf) > self.end + TOLERANCE
