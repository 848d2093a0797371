"""The CSV of a submission: one row per clip, one column per label, in the users' own units."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from emi_jax.errors import UserError
from emi_jax.files import whole_file

SHOWN = 200
"""Longest part of a file that a message shows."""


def write_predictions(
    path: Path, ids: Sequence[str], predictions: np.ndarray, names: Sequence[str], label_range: tuple[float, float]
) -> Path:
    """Writes predictions [n, K] in [0, 1] as a submission's CSV, in the units of the labels; complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header(names))
        for clip, row in zip(ids, in_units(predictions, label_range), strict=True):
            writer.writerow(format_row(clip, row))
    return path


def header(names: Iterable[str]) -> list[str]:
    """The first row of a submission."""
    return ["Filename", *names]


def format_row(clip: str, values: Iterable[float]) -> list[str]:
    """The row of a clip, given values in the units of the labels."""
    return [clip, *(f"{value:.6f}" for value in values)]


def in_units(values: np.ndarray, label_range: tuple[float, float]) -> np.ndarray:
    """Converts values in [0, 1] to the units of the labels."""
    low, high = label_range
    return low + (high - low) * np.asarray(values)


def read_predictions(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads a submission's CSV: {clip: float64 [K] in the units of the labels}, in the order of the file.

    Args:
        path: of the CSV.
        names: the K label names, which must be its columns, in this order.

    Raises:
        UserError: the file is missing or no CSV of predictions, a clip is there twice, or a value is not a finite
            number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # with or without the mark that Excel writes
            first, *rows = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    expected = header(names)
    if first != expected:
        odd = next((f" ({a!r} for {b!r})" for a, b in zip(first, expected, strict=False) if a != b), "")
        raise UserError(
            f"{path}: its columns are {', '.join(first)[:SHOWN] or 'none'}{odd}; expected {', '.join(expected)}"
        )
    found: dict[str, np.ndarray] = {}
    for number, row in enumerate(rows, start=2):
        if not row:  # an empty line
            continue
        try:
            values = np.array([float(cell.replace("_", "no number")) for cell in row[1:]])
        except ValueError:
            values = np.array([np.nan])
        if len(values) != len(names) or not np.isfinite(values).all():
            raise UserError(
                f"{path}, line {number}: expected a clip and {len(names)} finite numbers, got {row!s:.{SHOWN}}"
            )
        if row[0] in found:
            raise UserError(f"{path}, line {number}: clip {row[0]} is there twice")
        found[row[0]] = values
    return found


def check_submission(path: Path, ids: Sequence[str], names: Sequence[str], label_range: tuple[float, float]) -> None:
    """Checks that a CSV holds the predictions of these clips, in their order, in the range of the labels.

    Args:
        path: of the CSV.
        ids: the clips.
        names: the K label names.
        label_range: lowest and highest label in the users' units.

    Raises:
        UserError: it does not; the message names the first fault.
    """
    found = read_predictions(path, names)
    if missing := [clip for clip in ids if clip not in found]:
        raise UserError(f"{path} lacks {len(missing)} of {len(ids)} clips, the first of them {missing[0]}")
    if unknown := [clip for clip in found if clip not in set(ids)]:
        raise UserError(f"{path} holds {len(unknown)} clips that are not in the list, the first of them {unknown[0]}")
    for number, (clip, expected) in enumerate(zip(found, ids, strict=True), start=2):
        if clip != expected:
            raise UserError(f"{path}, line {number}: the order differs: expected {expected}, got {clip}")
    low, high = label_range
    for number, (clip, values) in enumerate(found.items(), start=2):
        if values.min() < low or values.max() > high:
            raise UserError(f"{path}, line {number}: a value of {clip} is outside of the labels' [{low:g}, {high:g}]")
