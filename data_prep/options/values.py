"""Parses the values of command line options; argparse reports what is wrong with one in a line."""

import argparse
import math
from collections.abc import Callable
from typing import Any

from data_prep.corpora.synthetic import COUNTS


def number(kind: type, least: float) -> Callable[[str], Any]:
    """Makes a parser of numbers of a kind, int or float, that are at least `least`."""

    def parse_number(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= least) or "_" in text:
            what = "a whole number" if kind is int else "a number"
            raise argparse.ArgumentTypeError(f"found {text!r}, expected {what} of at least {least:g}")
        return value

    return parse_number


def number_range(text: str) -> tuple[float, float]:
    """Two numbers in ascending order, separated by a comma, as in 0,100."""
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low, high = math.nan, math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a lower and a higher number, as in 0,100")
    return low, high


def counts(text: str) -> tuple[int, ...]:
    """Numbers of clips in each split, as in 300,40,40."""
    parts = text.split(",")
    if len(parts) != len(COUNTS) or not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {len(COUNTS)} whole numbers, as in 300,40,40")
    return tuple(map(int, parts))


def names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    found = tuple(name.strip() for name in text.split(","))
    if not all(found):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected column names separated by commas")
    return found
