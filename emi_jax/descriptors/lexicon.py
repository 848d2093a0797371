"""A user's sentiment lexicon: a CSV file of words and their values."""

import csv
import dataclasses
import functools
import hashlib
import io
import math
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emi_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Lexicon:
    """Words and their values.

    Attributes:
        columns: names of the values, from the header.
        values: normalised word -> float32 [columns].
        sha256: of the file, in hexadecimal digits: features of another lexicon are other features.
    """

    columns: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    sha256: str


def normalise(word: str) -> str:
    """A word in lower case and Unicode's form NFKC, without punctuation at its ends unless it has nothing else."""
    folded = unicodedata.normalize("NFKC", word).casefold().strip()
    kept = [place for place, letter in enumerate(folded) if unicodedata.category(letter)[0] not in "PSZC"]
    return folded[kept[0] : kept[-1] + 1] if kept else folded


def read_lexicon(path: str) -> Lexicon:
    """Reads a lexicon: UTF-8 CSV with a header `word,NAME,...`, then a word and a finite number for each name.

    A file that has not changed since it was last read is not read again.

    Raises:
        UserError: the file is missing or malformed, or holds a word twice (after `normalise`) with other values.
    """
    try:
        state = Path(path).stat()
    except OSError as error:
        raise UserError(f"lexicon {path}: cannot be read ({error.strerror}); give the path of a CSV file") from error
    return _read(path, state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=4)
def _read(path: str, modified: int, size: int) -> Lexicon:
    """Reads the file; its time and size are only keys of the cache."""
    content = Path(path).read_bytes()
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"lexicon {path}: not a CSV file in UTF-8 ({error}); save it as one") from error
    header = [name.strip() for name in rows[0]] if rows else []
    if len(header) < 2 or header[0].lower() != "word":
        raise UserError(f"lexicon {path}: the first line is {','.join(header)!r}; expected a header word,NAME,...")
    values: dict[str, np.ndarray] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        word = normalise(row[0])
        with np.errstate(over="ignore"):
            value = np.array([_number(text) for text in row[1:]]).astype(np.float32)
        if not word or len(row) != len(header) or not np.isfinite(value).all():
            raise UserError(
                f"lexicon {path}, line {number}: {','.join(row)!r}; expected a word and {len(header) - 1} numbers"
            )
        if not np.array_equal(values.setdefault(word, value), value):
            raise UserError(f"lexicon {path}, line {number}: {word!r} has other values above; keep one of them")
    if not values:
        raise UserError(f"lexicon {path}: holds no words; expected one a line below the header")
    return Lexicon(tuple(header[1:]), values, hashlib.sha256(content).hexdigest())


def _number(text: str) -> float:
    """The number, NaN for anything else."""
    try:
        return float(text)
    except ValueError:
        return math.nan
