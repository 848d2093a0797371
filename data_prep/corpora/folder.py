"""Any folder of clips with one CSV: `Filename`, any numeric label columns, optional Split, Subject, Transcript."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep.clips.clip import ClipSource
from data_prep.corpora import SPLITS, Corpus, find_media
from data_prep.corpora.tables import FILENAME, Row, read_table
from data_prep.corpora.transcripts import plain_name, read_transcripts
from data_prep.errors import CorpusError

TOLD = (FILENAME, "Split", "Subject", "Transcript")  # every other column is a label
ALIASES = {"val": "valid", "validation": "valid", "dev": "valid"}
SHARES = {"train": 0.7, "valid": 0.15, "test": 0.15}


def read_folder(
    source: Path, labels: Path | None, label_range: tuple[float, float], transcripts: Path | None
) -> Corpus:
    """Finds the clips that the CSV names.

    Args:
        source: the folder with the media files.
        labels: the CSV; `labels.csv` of the folder where not given.
        label_range: lowest and highest value of the labels.
        transcripts: CSV or JSON, in place of a Transcript column.

    Raises:
        CorpusError: the folder, the table or a cell is at fault.
    """
    low, high = label_range
    if not low < high:
        raise CorpusError(f"--label-range: found {low:g},{high:g}, expected a lower and a higher number")
    if not source.is_dir():
        raise CorpusError(f"{source}: no such folder, expected the folder of the clips")
    table = read_table(labels or source / "labels.csv", [])
    names = tuple(column for column in table.columns if column not in TOLD)
    if not names:
        raise CorpusError(f"{table.path}, line 1: found no label column, expected one beside {', '.join(TOLD)}")
    texts = read_transcripts(transcripts) if transcripts else {}
    splits = _told_splits(table.rows) if "Split" in table.columns else _subject_splits(table.rows)
    files = find_media(source)
    exact = {path.name: path for path in source.iterdir() if path.is_file()}
    clips = tuple(
        ClipSource(
            id=plain_name(row.name),
            video=exact.get(row.name) or files.get(row.name) or source / row.name,
            transcript=texts.get(plain_name(row.name), row.cells.get("Transcript")),
            labels=tuple(row.number(name, low, high) for name in names),
            subject=row.cells.get("Subject", ""),
            split=split,
        )
        for row, split in zip(table.rows, splits, strict=True)
    )
    _check_ids(table.rows)
    return Corpus("folder", names, (low, high), clips)


def _told_splits(rows: Sequence[Row]) -> list[str]:
    splits = []
    for row in rows:
        split = row.cells["Split"].lower()
        split = ALIASES.get(split, split)
        if split not in SPLITS:
            raise row.fault("Split", f"one of {', '.join(SPLITS)}")
        splits.append(split)
    return splits


def _subject_splits(rows: Sequence[Row]) -> list[str]:
    """Splits of about SHARES of the clips; a subject (or, unknown, a clip) is in one split only.

    Subjects are put in the order of a hash of their names, so that neither the table's order nor chance plays a part.
    """
    groups: dict[str, list[int]] = {}
    for k, row in enumerate(rows):
        groups.setdefault(row.cells.get("Subject") or f"clip {row.name}", []).append(k)
    order = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest())
    sizes = np.array([len(groups[name]) for name in order])
    middles = (np.cumsum(sizes) - sizes / 2) / sizes.sum()
    to_valid = np.searchsorted(middles, SHARES["train"])
    to_test = np.searchsorted(middles, 1 - SHARES["test"])
    if len(order) >= 3:  # then no split is empty
        to_valid = np.clip(to_valid, 1, len(order) - 2)
        to_test = np.clip(to_test, to_valid + 1, len(order) - 1)
    splits = [""] * len(rows)
    for position, name in enumerate(order):
        for k in groups[name]:
            splits[k] = "train" if position < to_valid else "valid" if position < to_test else "test"
    return splits


def _check_ids(rows: Sequence[Row]) -> None:
    seen: dict[str, Row] = {}
    for row in rows:
        other = seen.setdefault(plain_name(row.name), row)
        if other is not row:
            raise row.fault(
                FILENAME, f"a name that differs from {other.name!r} (line {other.line}) by more than its ending"
            )
