"""Any folder of clips with one table: `Filename`, any numeric label columns, optionally Split, Subject, Transcript."""

import collections
import difflib
import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from data_prep.clips.clip import ClipSource
from data_prep.clips.word_times import Words
from data_prep.corpora import Corpus
from data_prep.corpora.endings import media_ending, without_media_ending
from data_prep.corpora.media_files import MediaFolder, list_media, some
from data_prep.corpora.names import AmbiguousNameError, clip_ids, nfc
from data_prep.corpora.splits import split_notes, table_splits
from data_prep.corpora.tables import FILENAME, RESERVED, SUBJECT, TRANSCRIPT, Row, Table, plain, read_table
from data_prep.corpora.transcripts import Transcripts, read_transcripts, words_files
from data_prep.errors import CorpusError
from data_prep.media.remarks import OTHER_ENDING, WORDS_ENCODING, WORDS_UNTIMED, Remark
from emi_jax.report.terminal import counted, printable

ALMOST = 0.85
"""Similarity of two names (difflib's ratio, 0 to 1) from which one is taken for a misspelling of the other."""
SHOWN = 5
"""Most names without a file for which a note suggests the files with the most similar names."""


def read_folder(
    source: Path,
    labels: Path | None = None,
    label_range: tuple[float, float] = (0.0, 1.0),
    transcripts: Path | None = None,
    label_columns: Sequence[str] = (),
    recursive: bool = False,
    features: Collection[Path] = (),
) -> Corpus:
    """Finds the clips that the table names.

    Args:
        source: the folder with the media files.
        labels: the table; by default `labels.csv` in the folder.
        label_range: lowest and highest value of the labels.
        transcripts: a path for `read_transcripts`; its words take precedence over a Transcript column. Without either,
            words are read from files next to the clips.
        label_columns: the columns that are labels; by default all but the reserved ones.
        recursive: whether to search subfolders for clips.
        features: files and folders with users' own features, which are not noted as unread.

    Raises:
        CorpusError: the folder, the table or a cell is invalid, a name matches several files, or two rows name the
            same clip.
    """
    low, high = label_range
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise CorpusError(f"--label-range: found {low:g},{high:g}, expected a lower and a higher number")
    if not source.is_dir():
        raise CorpusError(f"{source}: no such folder, expected the folder of the clips")
    table = read_table(labels or source / "labels.csv", [], folders=recursive)
    names = _label_names(table, label_columns)
    if not table.rows:
        raise CorpusError(f"{table.path}: found no rows, expected one for each clip")
    folder = list_media(source, recursive)
    files = _files(table, folder)
    ids = _ids(table, files, source)
    splits = table_splits(table)
    words = find_words(source, transcripts, TRANSCRIPT in table.columns)
    clips = []
    own_names = collections.Counter(file.name for file in files if file)
    for row, file, split in zip(table.rows, files, splits, strict=True):
        below = [file.relative_to(source).as_posix()] if file else []
        below += [file.name] if file and own_names[file.name] == 1 else []
        spoken = words.find(*below, row.name) if words else None
        clips.append(
            ClipSource(
                id=ids[row.name],
                video=file or source / row.name,
                transcript=spoken.text if spoken else row.cells.get(TRANSCRIPT),
                word_times=spoken.times if spoken else (),
                labels=tuple(row.number(name, low, high) for name in names),
                subject=row.cells.get(SUBJECT, ""),
                split=split,
                remarks=tuple(_remarks(row, file, spoken)),
            )
        )
    notes = [*table.notes, *_label_notes(table, names, label_columns), *split_notes(table, splits)]
    notes += _file_notes(table, folder, files, words, features)
    return Corpus("folder", names, (low, high), tuple(clips), notes=tuple(notes))


def find_words(folder: Path, transcripts: Path | None, has_column: bool) -> Transcripts | None:
    """The words from outside the table of labels: those of --transcripts, else from files next to the clips."""
    if transcripts:
        return read_transcripts(transcripts)
    files = {} if has_column else words_files(folder, are_certain=False)
    return Transcripts(folder, files) if files else None


def lost_names(names: Sequence[str], folder: MediaFolder) -> Iterator[str]:
    """Yields notes on names for which the folder has no file."""
    for name in names[:SHOWN]:
        nearest = ", ".join(map(printable, folder.media.nearest(name))) or "none is like it"
        yield f"{printable(name)!r} names no file; most like it: {nearest}"
    if len(names) > SHOWN:
        yield f"{counted(len(names), 'name')} without a file in {folder.path}: {some(names)}"


def words_remarks(spoken: Words | None) -> Iterator[Remark]:
    """Remarks on the file that holds the words of a clip."""
    if spoken and spoken.encoding:
        yield Remark(WORDS_ENCODING, f"read as {spoken.encoding}")
    if spoken and spoken.untimed:
        yield Remark(WORDS_UNTIMED, spoken.untimed)


def _label_names(table: Table, chosen: Sequence[str]) -> tuple[str, ...]:
    others = [column for column in table.columns if column not in RESERVED]
    if not others:
        raise CorpusError(f"{table.path}, line 1: found no label column, expected one besides {', '.join(RESERVED)}")
    if not chosen:
        _refuse_misspelt(table, others)
    names = []
    for name in chosen or others:
        alike = [column for column in others if column == name] or [
            column for column in others if plain(column) == plain(name)
        ]
        if len(alike) != 1 or alike[0] in names:
            raise CorpusError(
                f"--label-columns: found {name!r}, expected one column each of {table.path}: {', '.join(others)}"
            )
        names.append(alike[0])
    return tuple(names)


def _refuse_misspelt(table: Table, labels: Sequence[str]) -> None:
    """Refuses a label column whose name is almost that of a reserved column that is missing."""
    missing = {plain(column): column for column in RESERVED if column not in table.columns}
    for label in labels:
        if near := difflib.get_close_matches(plain(label), missing, 1, ALMOST):
            raise CorpusError(
                f"{table.path}, line 1: found the column {label!r}, expected {missing[near[0]]!r} or the name of a "
                "label; rename it, or name the labels with --label-columns=NAME,NAME"
            )


def _files(table: Table, folder: MediaFolder) -> list[Path | None]:
    """The file of each row; None if there is none."""
    files: list[Path | None] = []
    rows: dict[Path, Row] = {}
    for row in table.rows:
        try:
            found = folder.media.find(row.name)
        except AmbiguousNameError as error:
            raise row.fault(FILENAME, f"a name that fits one file, not {' and '.join(error.candidates)}") from None
        file = found[1] if found else None
        if file and (other := rows.setdefault(file, row)) is not row:
            raise row.fault(
                FILENAME, f"another clip: {other.name!r} (line {other.line}) and it are the file {file.name}"
            )
        files.append(file)
    return files


def _ids(table: Table, files: Sequence[Path | None], source: Path) -> dict[str, str]:
    """Maps the name in the table to the id of the row's clip."""
    below = [file.relative_to(source).as_posix() if file else "" for file in files]
    of_files = clip_ids(filter(None, below))
    ids: dict[str, str] = {}
    rows: dict[str, Row] = {}
    for row, name in zip(table.rows, below, strict=True):
        own = of_files[name] if name else nfc(without_media_ending(row.name)).replace("/", "_")
        if (other := rows.setdefault(own, row)) is not row:
            raise row.fault(
                FILENAME, f"a name that differs from {other.name!r} (line {other.line}) by more than its ending"
            )
        ids[row.name] = own
    return ids


def _remarks(row: Row, file: Path | None, spoken: Words | None) -> Iterator[Remark]:
    ending = media_ending(row.name)
    if file and ending and ending != file.suffix.lower():
        yield Remark(OTHER_ENDING, f"{row.name} is {file.name}")
    yield from words_remarks(spoken)


def _label_notes(table: Table, names: Sequence[str], chosen: Sequence[str]) -> Iterator[str]:
    if not chosen:
        yield (
            f"labels are all columns besides {', '.join(RESERVED)}: {', '.join(names)} (--label-columns chooses others)"
        )
    elif ignored := [column for column in table.columns if column not in (*RESERVED, *names)]:
        yield f"columns that are no labels are not read: {', '.join(ignored)}"


def _file_notes(
    table: Table,
    folder: MediaFolder,
    files: Sequence[Path | None],
    words: Transcripts | None,
    features: Collection[Path],
) -> Iterator[str]:
    """Yields notes on names without a file, files that are not in the table, and words that match no clip."""
    if len(folder.media):
        yield from lost_names([row.name for row, file in zip(table.rows, files, strict=True) if file is None], folder)
    else:
        yield f"{folder.path} holds no media file"
    if unnamed := sorted(path.name for path in set(folder.media.things()) - set(files)):
        lost = counted(len(unnamed), "media file")
        yield f"{lost} in {folder.path} without a row in {table.path.name}: {some(unnamed)}"
    yield from folder.notes(used={table.path, *features, *(words.files() if words else ())})
    if words:
        yield from words.notes
        yield from words.unmatched()
