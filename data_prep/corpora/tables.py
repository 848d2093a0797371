"""Reads the tables of a corpus; every error is one line with the file, line, column, found and expected value."""

import csv
import dataclasses
import io
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from data_prep.corpora.names import visible
from data_prep.corpora.numbers import UNKNOWN, scaled_number
from data_prep.corpora.text import read_text
from data_prep.errors import CorpusError
from emi_jax.report.terminal import counted, printable

FILENAME, SPLIT, SUBJECT, TRANSCRIPT = RESERVED = ("Filename", "Split", "Subject", "Transcript")
SPELLINGS = {
    FILENAME: "file name clip clip_name clip_id video video_name video_id video_file audio_file file_id id recording",
    SPLIT: "partition set subset",
    SUBJECT: "subject_id speaker speaker_id actor actor_id participant participant_id person person_id",
    TRANSCRIPT: "transcription text words sentence",
}
"""Other headers that stand for a reserved column if the table does not have the column itself."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
LONGEST_NAME = 255  # bytes; file systems do not allow longer names
LONGEST_CELL = 1 << 26


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table."""

    path: Path
    line: int
    cells: dict[str, str]
    decimal_comma: bool = False

    @property
    def name(self) -> str:
        """The Filename cell."""
        return self.cells[FILENAME]

    def fault(self, column: str, expected: str) -> CorpusError:
        """Makes an error that says which value was expected in this row's cell of a column."""
        found = printable(self.cells.get(column, ""))
        return CorpusError(f"{self.path}, line {self.line}, column {column!r}: found {found!r}, expected {expected}")

    def number(self, column: str, low: float, high: float) -> float:
        """The cell scaled from [low, high] to [0, 1]; NaN if it is empty.

        Raises:
            CorpusError: the cell is not a finite number, or exceeds [low, high] by more than rounding.
        """
        try:
            return scaled_number(self.cells[column], low, high, self.decimal_comma)
        except ValueError as error:
            raise self.fault(column, str(error)) from None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: its columns, in order, its rows, and notes on how it was read."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def read_table(path: Path, required: Sequence[str], folders: bool = False) -> Table:
    """Reads a table with a header and a unique `Filename` in each row.

    Cells are separated by commas, semicolons or tabs, whichever splits the header into the most columns, including
    Filename. With semicolons and tabs, a comma within a number is a decimal comma. Headers of reserved and required
    columns match regardless of case, spaces and underscores; a column without a header is not read.

    Args:
        path: the file, in any encoding that `read_text` supports.
        required: columns that the table must have in addition to Filename.
        folders: whether names may be paths relative to the folder of the clips.

    Raises:
        CorpusError: the file cannot be read as text, a column is missing or repeated, a row has too many or too few
            cells, or a name is empty, repeated, or a path.
    """
    text, encoding = read_text(path)
    notes = [f"{path.name}: not UTF-8, read as {encoding}"] if encoding else []
    first, skipped = re.match(r"(?i)\"?sep=([,;\t])\"?\r?\n", text), 0  # Excel's own way to name the separator
    if first:
        text, skipped = text[first.end() :], 1
    separator = first[1] if first else _separator(text)
    if separator != ",":
        notes.append(f"{path.name}: cells are separated by {SEPARATORS[separator]}")
    lines = read_lines(path, text, separator, skipped)
    _, header = next(lines, (0, []))
    columns = _columns(path, header, required, notes)
    rows: dict[str, Row] = {}
    for line, found in lines:
        cells = found[: len(columns)] if not any(cell.strip() for cell in found[len(columns) :]) else found
        if len(cells) != len(columns):
            raise CorpusError(f"{path}, line {line}: found {len(cells)} cells, expected {len(columns)}")
        named = {column: cell.strip() for column, cell in zip(columns, cells, strict=True) if column}
        named[FILENAME] = named[FILENAME].removeprefix("./")
        row = Row(path, line, named, separator != ",")
        _check_name(row, folders)
        if "\0" in named.get(TRANSCRIPT, ""):
            raise row.fault(TRANSCRIPT, "text without zero characters")
        if row.name in rows:
            raise row.fault(FILENAME, f"a name that is not used yet (line {rows[row.name].line} has it)")
        rows[row.name] = row
    notes += _placeholders(path, list(rows.values()))
    return Table(path, tuple(filter(None, columns)), tuple(rows.values()), tuple(notes))


def _placeholders(path: Path, rows: Sequence[Row]) -> Iterator[str]:
    """Yields notes on text cells that look like unknown values, but may also be actual names or words."""
    for column in (SUBJECT, TRANSCRIPT):
        cells = [cell for row in rows if (cell := row.cells.get(column, "")).casefold() in UNKNOWN]
        if cells:
            found = ", ".join(map(repr, sorted(set(cells))))
            yield f"{path.name}: {counted(len(cells), 'cell')} of {column} read as text: {found}; empty is unknown"


def plain(header: str) -> str:
    """A header in lower case, without spaces, underscores, hyphens and invisible characters."""
    return re.sub(r"[\s_-]+", "", visible(header).casefold())


def _separator(text: str) -> str:
    """The separator that splits the header into the most columns, preferably including Filename."""

    def columns(separator: str) -> tuple[bool, int]:
        lines = io.StringIO(text.lstrip("\r\n"), newline="")
        header = next(csv.reader(lines, delimiter=separator, skipinitialspace=True), [])
        return any(meaning(cell) == FILENAME for cell in header), len(header)

    csv.field_size_limit(LONGEST_CELL)
    return max(SEPARATORS, key=columns)  # in a tie, the first one: the comma


def meaning(header: str) -> str:
    """The reserved column that a header names, exactly or in another spelling; "" if none."""
    for column in RESERVED:
        if plain(header) in {plain(column), *map(plain, SPELLINGS[column].split())}:
            return column
    return ""


def _columns(path: Path, header: Sequence[str], required: Sequence[str], notes: list[str]) -> list[str]:
    """The columns' names, with "" for those that are not read."""
    columns = [" ".join(cell.split()) for cell in header]
    if any(unicodedata.category(letter) in ("Cc", "Cs") for column in columns for letter in column):
        raise CorpusError(f"{path}, line 1: found control characters in the header, expected names of columns")
    exact = dict.fromkeys([*RESERVED, *required])
    for wanted in exact:
        if wanted not in columns:
            same = [k for k, column in enumerate(columns) if plain(column) == plain(wanted)]
            alike = same or [k for k, column in enumerate(columns) if wanted in RESERVED and meaning(column) == wanted]
            if len(alike) > 1:
                found = " and ".join(repr(columns[k]) for k in alike)
                raise CorpusError(f"{path}, line 1: both {found} may be the column {wanted!r}; rename one {wanted}")
            for k in alike:
                notes.append(f"{path.name}: column {columns[k]!r} is read as {wanted}")
                columns[k] = wanted
    nameless = [k for k, column in enumerate(columns) if not column or re.fullmatch(r"Unnamed: \d+", column)]
    if nameless and any(columns):
        numbers = ", ".join(str(k + 1) for k in nameless)
        notes.append(f"{path.name}: columns without a name are not read: number {numbers}")
    columns = ["" if k in nameless else column for k, column in enumerate(columns)]
    names = list(filter(None, columns))
    for column in (FILENAME, *required):
        if column not in columns:
            found, wanted = ", ".join(names) or "an empty file", ", ".join([FILENAME, *required])
            raise CorpusError(
                f"{path}, line 1: no column {column!r}; found {found}; expected {wanted}, separated by "
                f"{', '.join(SEPARATORS.values())}"
            )
    if twice := sorted({column for column in names if names.count(column) > 1}):
        raise CorpusError(f"{path}, line 1: column {twice[0]!r} found more than once, expected once")
    return columns


def read_lines(path: Path, text: str, separator: str = ",", skipped: int = 0) -> Iterator[tuple[int, list[str]]]:
    """Yields (line number, cells) for each non-blank line. Only line feeds and carriage returns end lines.

    Args:
        path: the file, for messages.
        text: its content.
        separator: what separates the cells.
        skipped: number of lines of the file before the text.

    Raises:
        CorpusError: the text is not valid CSV.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise CorpusError(
                f"{path}, line {reader.line_num + skipped}: found broken CSV ({error}), expected quoted cells"
            ) from None
        if cells is None:
            return
        if any(cell.strip() for cell in cells):
            yield reader.line_num + skipped, cells


def _check_name(row: Row, folders: bool) -> None:
    """Rejects a name that is a path out of the corpus' folder, or that no file can have."""
    name, path = row.name, PurePosixPath(row.name)
    is_path = "\\" in name or ("/" in name and (not folders or path.is_absolute() or ".." in path.parts))
    if not name or name.startswith(".") or is_path or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        path_below = "its path below the folder of the clips, with / between folders"
        raise row.fault(FILENAME, "the plain name of a clip, " + (f"or {path_below}" if folders else "without folders"))
    if any(len(part.encode()) > LONGEST_NAME for part in path.parts):
        raise row.fault(FILENAME, f"a name of at most {LONGEST_NAME} bytes")
