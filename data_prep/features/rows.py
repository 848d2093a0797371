"""Rows of features before they are checked, as every reader of files returns them."""

from typing import NamedTuple

import numpy as np

PICKLED = (
    "reading a pickle may run any program, so it is not read: convert it in a separate environment with "
    "numpy.save('NAME.npy', numpy.asarray(array)) for each clip"
)
"""Why pickles are refused and what to do instead."""


class Rows(NamedTuple):
    """The rows of one clip.

    Attributes:
        values: float64 [R, D].
        times: seconds, float64 [R]; NaN where unknown.
        valid: bool [R]; whether the file says that the row is valid.
        people: number of people that the file distinguishes; the rows are those of one of them.
    """

    values: np.ndarray
    times: np.ndarray
    valid: np.ndarray
    people: int = 1


class Layout(NamedTuple):
    """What a file holds, as far as its beginning says.

    Attributes:
        source: name of the format.
        names: the columns that are features.
        texts: columns that hold text, which are no features.
        needs_rate: whether its times are known only if the number of rows (or pictures) per second is given.
        clip: column of the names of clips; "" if the file is that of a single clip.
    """

    source: str
    names: tuple[str, ...]
    texts: tuple[str, ...] = ()
    needs_rate: bool = False
    clip: str = ""


def spaced(count: int, rate: float) -> np.ndarray:
    """The times of rows without times, float64 [count]: k / rate; a single row is at 0 s. NaN if no rate is known."""
    if count <= 1:
        return np.zeros(count)
    return np.arange(count) / rate if rate else np.full(count, np.nan)
