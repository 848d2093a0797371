"""The features of one clip: where they are, and what is read of them."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep.errors import ClipError, CorpusError
from data_prep.features.arrays import layout_of_array, read_array
from data_prep.features.rows import PICKLED, Layout, Rows
from data_prep.features.tables import Ranges, layout_of_table, read_table
from data_prep.files import unusable
from data_prep.media.remarks import FEATURES_INVALID, FEATURES_LONG, FEATURES_OF_MANY, NO_FEATURES, Remark

ARRAYS, TABLES = (".npy", ".npz"), (".csv", ".tsv")
ENDINGS = (*ARRAYS, *TABLES)
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


@dataclasses.dataclass(frozen=True)
class Schema:
    """What the features of one modality have in common in all clips.

    Attributes:
        source: the format of the files: openface2, pyfeat, libreface, opensmile, opensmile-python, muse, csv, npy, npz.
        names: the D columns, in order.
        rate: rows, or pictures, per second, for files without times; 0 if they have times.
    """

    source: str
    names: tuple[str, ...]
    rate: float = 0.0

    def metadata(self) -> dict[str, Any]:
        """The fields and the width D, JSON-serialisable."""
        return {"width": len(self.names), "names": list(self.names), "source": self.source, "rate": self.rate}

    @classmethod
    def from_metadata(cls, stored: Any) -> "Schema":
        """What `metadata` returned.

        Raises:
            CorpusError: the fields have other names, types or values.
        """
        try:
            names, source, rate = stored["names"], stored["source"], stored["rate"]
            if not isinstance(rate, int | float) or not 0 <= rate < float("inf") or not isinstance(source, str):
                raise ValueError(f"source {source!r} and rate {rate!r}")
            if not all(isinstance(name, str) for name in names) or not len(set(names)) == len(names) == stored["width"]:
                raise ValueError(f"{len(names)} names for {stored['width']} columns")
        except (KeyError, TypeError, ValueError) as error:
            raise CorpusError(f"stored features hold {error}, expected names, source, rate and width") from None
        return cls(source, tuple(names), float(rate))


@dataclasses.dataclass(frozen=True)
class FeatureSource:
    """Where the features of one clip and modality are.

    Attributes:
        schema: what they have in common with those of the other clips.
        path: the file; None if the clip has none.
        ranges: the clip's lines in a table of several clips; () if the file is the clip's own.
    """

    schema: Schema
    path: Path | None = None
    ranges: Ranges = ()


class Features(NamedTuple):
    """Features float32 [T, D] at times float32 [T] in seconds; `rows` is the number of rows before the invalid went."""

    values: np.ndarray
    times: np.ndarray
    rows: int


def layout(path: Path, patterns: Sequence[str] = ()) -> Layout:
    """What a file of features holds, according to its beginning.

    Args:
        path: the file.
        patterns: glob patterns of the columns to read; by default all that the file's format calls features.

    Raises:
        ClipError: the file cannot be read, or holds no features.
    """
    if path.suffix.lower() in PICKLES:
        raise ClipError(path, PICKLED)
    if why := unusable(path):
        raise ClipError(path, why)
    if path.suffix.lower() in TABLES:
        return layout_of_table(path, patterns)
    if patterns:
        raise ClipError(path, f"--feature-columns does nothing for {path.suffix} files, only for tables")
    return layout_of_array(path)


def no_features(source: FeatureSource) -> Features:
    """The features of a clip that has none."""
    return Features(np.zeros((0, len(source.schema.names)), np.float32), np.zeros(0, np.float32), 0)


def read_features(source: FeatureSource, max_seconds: float, remarks: list[Remark]) -> Features:
    """Reads the valid rows of a clip.

    Rows that the file marks as failed, and rows with a value that is not finite, are left out.

    Args:
        source: where they are.
        max_seconds: rows from this time on are left out.
        remarks: remarks are added to it.

    Raises:
        ClipError: the file cannot be read, or its times are unknown, negative, or not ascending.
    """
    path, names = source.path, source.schema.names
    if path is None:
        remarks.append(Remark(NO_FEATURES))
        return no_features(source)
    if why := unusable(path):
        raise ClipError(path, why)
    if path.suffix.lower() in TABLES:
        rows = read_table(path, names, source.schema.rate, source.ranges)
    else:
        rows = read_array(path, names, source.schema.rate)
    if not len(rows.times):
        raise ClipError(path, "found no rows of features, expected one or more below the header")
    _check_times(path, rows)
    if rows.people > 1:
        remarks.append(Remark(FEATURES_OF_MANY, f"{path.name}: {rows.people} people"))
    early = rows.times < max_seconds
    if not early.all():
        remarks.append(Remark(FEATURES_LONG, f"{path.name}: {rows.times[-1]:.1f} s, read to {max_seconds:g} s"))
    with np.errstate(over="ignore"):  # beyond float32, a value becomes infinite and its row invalid
        values = rows.values.astype(np.float32)
    valid = rows.valid & np.isfinite(values).all(axis=1) & early
    if count := int((early & ~valid).sum()):
        remarks.append(
            Remark(FEATURES_INVALID, f"{path.name}: {count} of {early.sum()} rows{_empty_columns(rows, names)}")
        )
    return Features(values[valid], rows.times[valid].astype(np.float32), int(early.sum()))


def _check_times(path: Path, rows: Rows) -> None:
    times = rows.times
    if not np.isfinite(times).all():
        raise ClipError(path, f"found no time for {(~np.isfinite(times)).sum()} of {len(times)} rows, expected seconds")
    if len(times) and times[0] < 0:
        raise ClipError(path, f"found a row at {times[0]:g} s, expected times from 0 s on")
    if (falls := np.flatnonzero(np.diff(times) <= 0)).size:
        k = falls[0]
        raise ClipError(
            path,
            f"found a row at {times[k + 1]:g} s after one at {times[k]:g} s, expected ascending times in each clip",
        )


def _empty_columns(rows: Rows, names: Sequence[str]) -> str:
    empty = [name for name, known in zip(names, np.isfinite(rows.values).any(axis=0), strict=True) if not known]
    return f"; no number in column {', '.join(empty[:3])}" if empty else ""
