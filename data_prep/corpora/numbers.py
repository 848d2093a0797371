"""Numbers in the cells of tables."""

import math
import re

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
UNKNOWN = ("na", "n/a", "nan", "none", "null", "nil", "-", "?", ".", "unknown", "missing", "#n/a")
"""Common spellings of an unknown value. They are rejected with a hint: only an empty cell means unknown."""

DUST = 1e-6
"""Share of the range by which a number may exceed it, due to rounding."""


def scaled_number(text: str, low: float, high: float, decimal_comma: bool) -> float:
    """Parses a number and scales it from [low, high] to [0, 1]; NaN for an empty text.

    Args:
        text: a decimal number in ASCII digits, with or without an exponent.
        low: the number that maps to 0.
        high: the number that maps to 1.
        decimal_comma: whether the decimal separator is a comma.

    Raises:
        ValueError: the text is not a number, or it is outside the range; the message says what was expected.
    """
    if not text:
        return math.nan
    expected = f"a number from {low:g} to {high:g}, or nothing where it is unknown"
    if decimal_comma and text.count(",") == 1 and "." not in text:
        if high >= 1000 and re.fullmatch(r"[+-]?[0-9]{1,3},[0-9]{3}", text):
            raise ValueError(f"{expected}; the comma may be a decimal comma or separate thousands: write a point")
        text = text.replace(",", ".")
    if not NUMBER.fullmatch(text):
        raise ValueError(expected + _hint(text))
    value = float(text)
    dust = DUST * (high - low)
    if not low - dust <= value <= high + dust:
        hint = "; --label-range=LOW,HIGH names another range" if math.isfinite(value) else ""
        raise ValueError(expected + hint)
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _hint(text: str) -> str:
    if text.casefold() in UNKNOWN:
        return "; leave the cell empty where the value is unknown"
    if NUMBER.fullmatch(text.replace(",", ".", 1)):
        return "; write a decimal point, or separate the cells by semicolons"
    if NUMBER.fullmatch(text.rstrip(" %")):
        return "; write it without the percent sign, with --label-range=0,100"
    return "; --label-columns=NAME,NAME chooses the columns that are labels"
