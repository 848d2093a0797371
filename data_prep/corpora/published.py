"""What the readers of published corpora share: tables with known columns, and media whose names follow a grammar."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from data_prep.clips.clip import ClipSource
from data_prep.corpora import SPLITS
from data_prep.corpora.media_files import list_media, some
from data_prep.corpora.tables import Row, read_lines
from data_prep.corpora.text import read_text
from data_prep.errors import CorpusError
from data_prep.files import is_pointer
from emi_jax.report.terminal import counted, printable


@dataclasses.dataclass(frozen=True)
class NamedMedia:
    """The media of a folder whose names follow a corpus' grammar.

    Attributes:
        folder: the folder, which was searched with its subfolders.
        files: by clip name, the file; none of them is a pointer file.
        pointers: by clip name, the pointer files of Git LFS or git-annex, which hold no clip.
        notes: notes on what is not read.
    """

    folder: Path
    files: Mapping[str, Path]
    pointers: Mapping[str, Path]
    notes: tuple[str, ...]

    def need_some(self, example: str) -> None:
        """Checks that there is at least one file.

        Args:
            example: the name of a file as the corpus has them, for the message.

        Raises:
            CorpusError: there is none, or all are pointer files.
        """
        if not self.files and self.pointers:
            raise CorpusError(
                f"{self.folder}: nothing but pointers of Git LFS, in place of "
                f"{counted(len(self.pointers), 'media file')}; run git lfs pull there"
            )
        if not self.files:
            others = "".join(f"; {note}" for note in self.notes)
            raise CorpusError(f"{self.folder}: found no clip, expected files such as {example}{others}")


def named_media(folder: Path, clip_name: Callable[[str], str]) -> NamedMedia:
    """Lists the media of a folder and its subfolders by clip name; a missing folder counts as empty.

    Of two files of equal size for one clip, as they are in copies of a corpus that hold a folder twice, the first is
    used.

    Args:
        folder: the folder.
        clip_name: maps the name of a media file to that of its clip; "" if no file of the corpus has this name.

    Raises:
        CorpusError: the folder cannot be listed, or two different files belong to one clip.
    """
    listed = list_media(folder, recursive=True)
    files: dict[str, Path] = {}
    pointers: dict[str, Path] = {}
    foreign: list[str] = []
    copies: list[str] = []
    for path in listed.media.things():
        name = clip_name(path.name)
        other = files.get(name)
        if not name:
            foreign.append(path.name)
        elif is_pointer(path):
            pointers.setdefault(name, path)
        elif other is None:
            files[name] = path
        elif other.stat().st_size == path.stat().st_size:
            copies.append(str(path.relative_to(folder)))
        else:
            raise CorpusError(f"{other} and {path}: both are clip {name}, with different content; keep one of them")
    notes = list(listed.notes())
    if pointers:
        notes.append(
            f"{folder}: pointers of Git LFS in place of {counted(len(pointers), 'media file')} (run git lfs pull "
            f"there): {some(path.name for path in pointers.values())}"
        )
    if foreign:
        notes.append(
            f"{counted(len(foreign), 'media file')} in {folder} without a name of the corpus, not read: {some(foreign)}"
        )
    if copies:
        notes.append(f"{counted(len(copies), 'media file')} in {folder} not read, as second copies: {some(copies)}")
    return NamedMedia(folder, files, pointers, tuple(notes))


def read_rows(path: Path, required: Collection[str]) -> tuple[list[Row], list[str]]:
    """Reads a table whose columns are known. A column without a header is called `column N`, with N from 1.

    Returns:
        The rows, and notes on how the table was read.

    Raises:
        CorpusError: the file is missing or not a CSV table, it lacks a column, or a row has too many or too few cells.
    """
    text, encoding = read_text(path)
    lines = read_lines(path, text)
    _, header = next(lines, (0, []))
    columns = [cell.strip() or f"column {number}" for number, cell in enumerate(header, 1)]
    if missing := [column for column in required if column not in columns]:
        found = ", ".join(map(printable, columns)) or "an empty file"
        raise CorpusError(f"{path}, line 1: no column {missing[0]!r}; found {found}; expected {', '.join(required)}")
    rows = []
    for line, cells in lines:
        if len(cells) != len(columns):
            raise CorpusError(f"{path}, line {line}: found {len(cells)} cells, expected {len(columns)}")
        stripped = [cell.strip(" \t\r\n") for cell in cells]  # other spaces may be characters in a wrong encoding
        rows.append(Row(path, line, dict(zip(columns, stripped, strict=True))))
    return rows, [f"{path.name}: not UTF-8, read as {encoding}"] if encoding else []


def whole_number(row: Row, column: str, least: int = 0) -> int:
    """The cell of a column as a whole number.

    Raises:
        CorpusError: it is something else, or less than `least`.
    """
    cell = row.cells[column]
    if not (cell.isascii() and cell.isdecimal() and int(cell) >= least):
        raise row.fault(column, f"a whole number of at least {least}")
    return int(cell)


def missing_note(names: Sequence[str], count: int, table: str, folder: str) -> Iterator[str]:
    """Yields a note on clips of a table that have no file, if there are any."""
    if names:
        yield f"{len(names)} of {counted(count, 'clip')} in {table} without a file in {folder}, left out: {some(names)}"


def empty_split_notes(clips: Sequence[ClipSource], members: Mapping[str, str]) -> Iterator[str]:
    """Yields a note for each split without a clip.

    Args:
        clips: all clips.
        members: by split, in words, which clips belong to it.
    """
    for split in SPLITS:
        if not any(clip.split == split for clip in clips):
            yield f"split {split} is empty: it is for {members[split]}"
