"""Reads features from CSV and TSV files as other tools write them."""

import csv
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from data_prep.errors import ClipError
from data_prep.features.formats import Format, choose, parse_seconds, recognise
from data_prep.features.rows import Layout, Rows, spaced

SEPARATORS = (",", ";", "\t")
SAMPLE = 5
"""Rows from which it is found out which columns hold text."""
MISSING = ("", "na", "n/a", "none", "null", "-")
"""Cells without a number, in lower case; NaN and infinities are numbers that are not finite."""

Ranges = tuple[tuple[int, int], ...]
"""Where the lines of a clip start and end in a table of several clips, in bytes."""


class ClipLines(NamedTuple):
    """Where the lines of a clip are, and how many there are."""

    ranges: Ranges
    rows: int


class _Header(NamedTuple):
    path: Path
    columns: list[str]
    separator: str
    format: Format

    def cells(self, line: str) -> list[str]:
        # openSMILE, the only one with semicolons, quotes names with apostrophes.
        return _cells(self.path, line, self.separator, "'" if self.separator == ";" else '"')

    def number(self, cell: str) -> float:
        """The number, or the time span in seconds, in a cell; NaN if it is missing.

        Raises:
            ValueError: it holds something else.
        """
        if cell.lower() in MISSING:
            return np.nan
        return parse_seconds(cell.replace(",", ".") if self.separator != "," else cell)


def layout_of_table(path: Path, patterns: Sequence[str] = ()) -> Layout:
    """What a table holds, according to its header and first rows.

    Args:
        path: the file.
        patterns: the columns that are features, as glob patterns; by default all that the format calls so.

    Raises:
        ClipError: the file cannot be read, has no header, or lacks a column that a pattern asks for.
    """
    with path.open("rb") as file:
        header = _header(path, file.readline())
        sample = [header.cells(_decode(line)) for line, _ in zip(file, range(SAMPLE), strict=False)]
    texts = tuple(
        column
        for k, column in enumerate(header.columns)
        if any(_is_text(header, row[k]) for row in sample if k < len(row))
    )
    try:
        chosen = choose(header.columns, patterns, header.format)
    except LookupError as error:
        raise ClipError(
            path, f"no column matches --feature-columns={error.args[0]}; it has {_few(header.columns)}"
        ) from None
    if patterns and (words := [column for column in chosen if column in texts]):
        raise ClipError(path, f"column {words[0]!r} of --feature-columns holds text, expected numbers")
    names = tuple(column for column in chosen if column not in texts)
    if not names:
        raise ClipError(path, f"found no column of features among {_few(header.columns)}")
    texts = tuple(column for column in chosen if column in texts)  # others, such as names of clips, are expected
    return Layout(header.format.name, names, texts, not header.format.time and len(sample) > 1, header.format.clip)


def lines_by_clip(path: Path) -> dict[str, ClipLines]:
    """The lines of each clip in a table of several clips, by the name in its column of clips.

    Raises:
        ClipError: the file cannot be read, or has no column of clips.
    """
    found: dict[str, ClipLines] = {}
    with path.open("rb") as file:
        header = _header(path, first := file.readline())
        if not header.format.clip:
            raise ClipError(path, f"found no column with names of clips among {_few(header.columns)}")
        place, start = header.columns.index(header.format.clip), len(first)
        for line in file:
            end = start + len(line)
            cells = header.cells(_decode(line))
            if place < len(cells) and cells[place]:
                ranges, rows = found.get(cells[place], ClipLines((), 0))
                joins = bool(ranges) and ranges[-1][1] == start
                ranges = (*ranges[:-1], (ranges[-1][0], end)) if joins else (*ranges, (start, end))
                found[cells[place]] = ClipLines(ranges, rows + 1)
            start = end
    return found


def read_table(path: Path, names: Sequence[str], rate: float, ranges: Ranges = ()) -> Rows:
    """The rows of a clip.

    Args:
        path: the file.
        names: the columns to read.
        rate: rows, or pictures, per second, for tables without times; 0 if unknown.
        ranges: where the clip's lines are; () for all of them.

    Raises:
        ClipError: a column is missing, a row has too many or too few cells, or a cell holds no number.
    """
    with path.open("rb") as file:
        header = _header(path, file.readline())
        rows = [header.cells(_decode(line)) for line in _lines(file, ranges) if line.strip()]
    columns, format = header.columns, header.format
    known = set(filter(None, columns))  # a column without a header has no meaning
    if missing := [name for name in names if name not in columns]:
        raise ClipError(path, f"found no column {missing[0]!r}, expected the columns of the other clips")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(columns):
            raise ClipError(path, f"row {number}: found {len(row)} cells, expected {len(columns)}")

    def numbers(column: str) -> np.ndarray:
        place, found = columns.index(column), []
        for number, row in enumerate(rows, start=1):
            try:
                found.append(header.number(row[place]))
            except ValueError:
                raise ClipError(
                    path, f"row {number}, column {column!r}: found {row[place]!r}, expected a number"
                ) from None
        return np.array(found, np.float64)

    values = np.stack([numbers(name) for name in names], axis=1)
    times = _times(format, known, numbers, len(rows), rate)
    valid = np.isfinite(values).all(axis=1)
    if format.success in known:
        valid &= numbers(format.success) == 1
    score = numbers(format.score) if format.score in known else None
    if score is not None:
        valid &= score >= format.least_score  # False for NaN
    if format.zeros_are_missing:
        valid &= np.any([numbers(column) for column in columns if format.is_feature(column)], axis=0)
    who = [row[columns.index(format.person)] for row in rows] if format.person in known else []
    kept, people = _one_person(who, times, valid, score)
    return Rows(values[kept], times[kept], valid[kept], people)


def _times(
    format: Format, columns: Collection[str], numbers: Callable[[str], np.ndarray], count: int, rate: float
) -> np.ndarray:
    """The rows' times in seconds, float64 [count]."""
    if format.time:
        times = numbers(format.time)
        known = times[np.isfinite(times)]
        in_milliseconds = len(known) > 1 and np.median(np.diff(known)) > format.milliseconds_from
        start = known[0] if format.from_first and len(known) else 0.0
        return (times - start) * (1e-3 if in_milliseconds else format.unit)
    if format.frame in columns and rate:
        return numbers(format.frame) / rate
    return spaced(count, rate)


def _one_person(
    who: Sequence[str], times: np.ndarray, valid: np.ndarray, score: np.ndarray | None
) -> tuple[np.ndarray, int]:
    """Indices of the rows of one person, and the number of people.

    The person is the one with the most valid rows, the first of several; rows of nobody, at other times, stay too.
    Where nothing distinguishes people, it is the row with the highest score at each time.
    """
    people = list(dict.fromkeys(filter(None, who)))
    if len(people) > 1:
        rows = {person: [k for k, own in enumerate(who) if own == person] for person in people}
        chosen = max(rows.values(), key=lambda own: valid[own].sum())
        seen = set(times[chosen].tolist())
        nobody = [k for k, own in enumerate(who) if not own and times[k] not in seen]
        return np.array(sorted(chosen + nobody)), len(people)
    if score is None:
        return np.arange(len(times)), 1
    at: dict[float, list[int]] = {}
    for k, time in enumerate(times.tolist()):
        at.setdefault(time, []).append(k)
    best = np.array([max(own, key=lambda k: score[k]) for own in at.values()], int)
    return best, max(map(len, at.values()), default=1)


def _header(path: Path, line: bytes) -> _Header:
    text = _decode(line).removeprefix("\ufeff")
    separator = max(SEPARATORS, key=text.count)
    columns = _cells(path, text, separator, '"')
    named = [column for column in columns if column]
    counted = [str(k) for k in range(len(named))]  # pandas writes these in place of names
    if not named or (all(map(_is_number, named)) and named != counted):
        raise ClipError(path, "found no header in its first line, expected names of columns separated by , ; or tabs")
    if len(set(named)) < len(named):
        twice = next(column for column in named if named.count(column) > 1)
        raise ClipError(path, f"found column {twice!r} more than once, expected once")
    return _Header(path, columns, separator, recognise(columns))


def _cells(path: Path, line: str, separator: str, quote: str) -> list[str]:
    try:
        row = next(csv.reader([line], delimiter=separator, quotechar=quote, skipinitialspace=True), [])
    except csv.Error as error:
        raise ClipError(path, f"found a line that cannot be divided into cells ({error})") from None
    return [cell.strip() for cell in row]


def _lines(file: BinaryIO, ranges: Ranges) -> Iterator[bytes]:
    """The lines in the ranges; without ranges, all that are left."""
    if not ranges:
        yield from file
    for start, end in ranges:
        file.seek(start)
        yield from file.read(end - start).splitlines(keepends=True)


def _decode(line: bytes) -> str:
    return line.decode("utf-8", errors="surrogateescape").rstrip("\r\n")


def _is_text(header: _Header, cell: str) -> bool:
    try:
        header.number(cell)
    except ValueError:
        return True
    return False


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _few(columns: Sequence[str]) -> str:
    return ", ".join(columns[:10]) + (", ..." if len(columns) > 10 else "")
