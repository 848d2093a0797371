"""The CSV of a submission: one row per clip, one column per label, in the users' own units."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np


def write_predictions(
    path: Path, ids: Sequence[str], predictions: np.ndarray, names: Sequence[str], label_range: tuple[float, float]
) -> Path:
    """Writes predictions [n, K] in [0, 1] as a submission's CSV, in the units of the labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
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
