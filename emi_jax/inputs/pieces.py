"""Examples that are parts of a clip: pieces of one that is too long to be read at once, and one that holds nothing."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

TOLERANCE = 0.1
"""Seconds at the end of a clip that do not count: codecs fill up their last packet, with 64 ms at most for AAC."""


class Piece(NamedTuple):
    """Where an example lies in a clip of which it is a piece. Pieces come in order of time and do not overlap.

    The pictures and words of the example have the times that they have in the clip; its sound starts with the piece.

    Attributes:
        start: seconds since the clip's start.
        end: the same of its end; where the next piece starts.
        last: whether the clip ends with it, perhaps before `end`.
        seconds: length of the clip according to its file; 0 if unknown.
        bookmark: from where the reader can resume after this piece, JSON-able; None for the last one.
    """

    start: float
    end: float
    last: bool
    seconds: float = 0.0
    bookmark: Mapping[str, Any] | None = None


def empty_example(name: str = "") -> dict[str, Any]:
    """An example without pictures, sound, words and labels; see `data_prep.build.dataset` for its parts."""
    return {
        "id": name,
        "faces": [],
        "times": np.zeros(0, np.float32),
        "face_found": np.zeros(0, bool),
        "landmarks": np.zeros((0, 5, 2), np.float32),
        "audio": np.zeros(0, np.int16),
        "transcript": "",
        "word_times": np.zeros((0, 2), np.float32),
        "labels": np.zeros(0, np.float32),
        "subject": "",
    }
