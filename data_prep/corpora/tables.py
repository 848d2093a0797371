"""Reads the CSV tables of a corpus; every fault is one line that names file, line, column, found and expected."""

import csv
import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.errors import CorpusError

FILENAME = "Filename"
LONGEST_NAME = 150  # bytes; with what preparation adds to it, a file system still takes it


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table."""

    path: Path
    line: int
    cells: dict[str, str]

    @property
    def name(self) -> str:
        """The Filename cell: a plain name, never a path."""
        return self.cells[FILENAME]

    def fault(self, column: str, expected: str) -> CorpusError:
        """The error that this row's cell of a column is not what it should be."""
        found = self.cells.get(column)
        return CorpusError(f"{self.path}, line {self.line}, column {column!r}: found {found!r}, expected {expected}")

    def number(self, column: str, low: float, high: float) -> float:
        """The cell scaled from [low, high] to [0, 1]; NaN when it is empty.

        Raises:
            CorpusError: it is no finite number, or lies outside [low, high].
        """
        text = self.cells[column]
        if not text:
            return math.nan
        expected = f"a number from {low:g} to {high:g}, or nothing where it is unknown"
        try:
            value = float(text)
        except ValueError:
            raise self.fault(column, expected) from None
        if not low <= value <= high:
            hint = "" if not math.isfinite(value) else "; other units are told by --label-range"
            raise self.fault(column, expected + hint)
        return (value - low) / (high - low)


@dataclasses.dataclass(frozen=True)
class Table:
    """A CSV file: its columns, in order, and its rows."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_table(path: Path, required: Sequence[str]) -> Table:
    """Reads a CSV table with a header and a unique `Filename` in each row.

    Raises:
        CorpusError: the file is missing or not UTF-8 text, a column is missing or there twice, a row has too many or
            too few cells, or a name is empty, twice there, or a path.
    """
    lines = _read_lines(path)
    _, header = next(lines, (0, []))
    columns = tuple(cell.strip() for cell in header)
    wanted = [FILENAME, *required]
    for column in wanted:
        if column not in columns:
            found = ", ".join(columns) or "an empty file"
            raise CorpusError(f"{path}, line 1: no column {column!r}; found {found}; expected {', '.join(wanted)}")
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise CorpusError(f"{path}, line 1: column {twice[0]!r} found more than once, expected once")

    rows: dict[str, Row] = {}
    for line, cells in lines:
        if len(cells) != len(columns):
            raise CorpusError(f"{path}, line {line}: found {len(cells)} cells, expected {len(columns)}")
        row = Row(path, line, {column: cell.strip() for column, cell in zip(columns, cells, strict=True)})
        _check_name(row)
        if row.name in rows:
            raise row.fault(FILENAME, f"a name that is not there yet (line {rows[row.name].line} has it)")
        rows[row.name] = row
    return Table(path, columns, tuple(rows.values()))


def _read_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each line that is not blank."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file, expected a CSV table with a column {FILENAME!r}") from None
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: found byte {error.object[error.start]:#04x} at {error.start}, expected UTF-8 text"
        ) from None
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise CorpusError(
                f"{path}, line {reader.line_num}: found broken CSV ({error}), expected quoted cells"
            ) from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _check_name(row: Row) -> None:
    """Names become file names: one that is a path, or no file can bear, is a fault."""
    name = row.name
    if not name or name.startswith(".") or any(mark in name for mark in "/\\:") or not name.isprintable():
        raise row.fault(FILENAME, "the plain name of a clip, without folders")
    if len(name.encode()) > LONGEST_NAME:
        raise row.fault(FILENAME, f"a name of at most {LONGEST_NAME} bytes")
