"""Assigns the clips of a `folder` corpus to splits."""

import hashlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from data_prep.corpora import SPLITS
from data_prep.corpora.tables import SPLIT, SUBJECT, Row, Table

SPELLINGS = {
    "train": ("train", "training", "trn", "tr"),
    "valid": ("valid", "validation", "validate", "val", "dev", "devel", "development"),
    "test": ("test", "testing", "tst"),
}
"""Common names of the splits, in any case; `set`, `split` or `partition` may follow."""

SHARES = {"train": 0.7, "valid": 0.15, "test": 0.15}


def table_splits(table: Table) -> list[str]:
    """The split of each row: from the column Split if there is one, else by subject.

    Raises:
        CorpusError: a cell of the column does not name a split.
    """
    return [_named_split(row) for row in table.rows] if SPLIT in table.columns else _subject_splits(table.rows)


def split_notes(table: Table, splits: Sequence[str]) -> Iterator[str]:
    """Yields notes on the splits of a table."""
    if SPLIT in table.columns:
        spelled = {row.cells[SPLIT]: split for row, split in zip(table.rows, splits, strict=True)}
        if other := [f"{found!r} as {split}" for found, split in spelled.items() if found != split]:
            yield f"column Split: read {', '.join(other)}"
    elif len(groups := _groups(table.rows)) < len(SPLITS):
        what = "subject" if any(row.cells.get(SUBJECT) for row in table.rows) else "clip"
        yield (
            f"found {len(groups)} {what}{'s' * (len(groups) != 1)}, too few for three splits; a column Split with "
            f"{', '.join(SPLITS)} says which clips serve for what"
        )
    if empty := [split for split in SPLITS if split not in splits]:
        yield f"no clip is in split {' or '.join(empty)}"


def _named_split(row: Row) -> str:
    word = re.sub(r"[^a-z]", "", row.cells[SPLIT].casefold())
    word = re.sub(r"(?<=.)(set|split|partition)$", "", word)
    for split, spellings in SPELLINGS.items():
        if word in spellings:
            return split
    raise row.fault(SPLIT, f"one of {', '.join(SPLITS)}")


def _groups(rows: Sequence[Row]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for k, row in enumerate(rows):
        groups.setdefault(row.cells.get(SUBJECT) or f"clip {row.name}", []).append(k)
    return groups


def _subject_splits(rows: Sequence[Row]) -> list[str]:
    """Splits the clips in proportions of about SHARES; each subject (or clip with unknown subject) is in one split.

    Subjects are ordered by a hash of their names, so the splits are deterministic and do not depend on row order.
    """
    groups = _groups(rows)
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
