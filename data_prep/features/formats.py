"""The tables that tools write: how each is recognised, where its times are, and which columns are no features."""

import dataclasses
import fnmatch
import re
from collections.abc import Sequence

LEAST_CONFIDENCE = 0.75
"""OpenFace's confidence below which a row counts as failed, although its `success` is 1."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of table.

    Attributes:
        name: for messages and the dataset's metadata.
        needs: the columns by which it is recognised.
        time: column of the rows' times; "" if there is none.
        unit: seconds per unit of that column.
        frame: column of the numbers of pictures, which give the times if the rate is known.
        clip: column of the names of clips, for tables that hold several.
        person: column that distinguishes several people.
        score: column of the certainty that the row shows a face; rows below `least_score` are invalid.
        least_score: see `score`.
        success: column that is 1 where the row is valid.
        other: patterns of further columns that are no features.
        from_first: whether times count from the first row.
        zeros_are_missing: whether rows of zeros stand for missing data.
        milliseconds_from: step between rows, in the column's unit, above which it can only hold milliseconds.
    """

    name: str
    needs: tuple[str, ...]
    time: str = ""
    unit: float = 1.0
    frame: str = ""
    clip: str = ""
    person: str = ""
    score: str = ""
    least_score: float = 0.0
    success: str = ""
    other: tuple[str, ...] = ()
    from_first: bool = False
    zeros_are_missing: bool = False
    milliseconds_from: float = float("inf")

    def is_feature(self, column: str) -> bool:
        """Whether a column holds a feature, judging by its name."""
        own = {self.time, self.frame, self.clip, self.person, self.score, self.success}
        return not (column in own or _matches(column, (*self.other, *NAMELESS)))


NAMELESS = ("", "Unnamed: *")
"""Columns without a header, such as the index that pandas writes."""

KNOWN = (
    Format(
        "openface2",
        ("frame", "timestamp", "confidence", "success"),
        time="timestamp",
        frame="frame",
        person="face_id",
        score="confidence",
        least_score=LEAST_CONFIDENCE,
        success="success",
    ),
    Format(
        "pyfeat",
        ("FaceScore", "frame"),
        frame="frame",
        person="Identity",
        score="FaceScore",
        other=("FaceRect*", "Identity_*", "input", "approx_time"),  # approx_time holds whole seconds
    ),
    Format(
        "libreface",
        ("frame_idx", "frame_time_in_ms"),
        time="frame_time_in_ms",  # holds seconds, whatever its name says
        frame="frame_idx",
        other=("facial_expression",),
        milliseconds_from=1.0,
    ),
    Format(
        "opensmile", ("name", "frameTime"), time="frameTime", clip="name", other=("frameIndex", "frameLength")
    ),
    Format("opensmile-python", ("file", "start", "end"), time="start", clip="file", other=("end",)),
    Format(
        "muse", ("timestamp", "segment_id"), time="timestamp", unit=1e-3, other=("segment_id",),
        from_first=True, zeros_are_missing=True,
    ),
)  # fmt: skip
"""The formats of known tools, the most specific first."""

TIMES = {
    **dict.fromkeys(("time", "times", "timestamp", "time_s", "seconds", "start", "frametime"), 1.0),
    **dict.fromkeys(("time_ms", "timestamp_ms", "milliseconds", "ms"), 1e-3),
}
"""Names of time columns of any other table, in lower case, and the seconds per unit."""
CLIPS = ("filename", "file_name", "file", "name", "clip", "clip_id", "video", "id")
FRAMES, SUCCESSES, PEOPLE = ("frame", "frame_idx"), ("valid", "success"), ("face_id",)
OTHERS = ("end", "index", "confidence")


def recognise(columns: Sequence[str]) -> Format:
    """The format of a table with these columns; if no known tool writes it, one made of well-known column names."""
    for known in KNOWN:
        if set(known.needs) <= set(columns):
            return known

    def first(names: Sequence[str]) -> str:
        return next((column for name in names for column in columns if column.lower() == name), "")

    time = first(tuple(TIMES))
    return Format(
        "csv",
        (),
        time=time,
        unit=TIMES.get(time.lower(), 1.0),
        frame=first(FRAMES),
        clip=first(CLIPS),
        person=first(PEOPLE),
        success=first(SUCCESSES),
        other=tuple(column for column in columns if column.lower() in OTHERS),
    )


def choose(columns: Sequence[str], patterns: Sequence[str], format: Format) -> tuple[str, ...]:
    """The columns that are features: those that match a pattern, or by default all that the format calls so.

    Raises:
        LookupError: a pattern matches no column; the pattern is its argument.
    """
    for pattern in patterns:
        if not any(_matches(column, (pattern,)) for column in columns):
            raise LookupError(pattern)
    if patterns:
        return tuple(column for column in columns if _matches(column, patterns))
    return tuple(column for column in columns if format.is_feature(column))


def parse_seconds(text: str) -> float:
    """A number, or the time span that pandas writes: `0 days 00:00:01.500000`.

    Raises:
        ValueError: it is neither.
    """
    span = re.fullmatch(r"(\d+) days (\d+):(\d+):(\d+(?:\.\d+)?)", text)
    if span is None:
        return float(text)
    days, hours, minutes, seconds = map(float, span.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _matches(column: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(column, pattern) for pattern in patterns)
