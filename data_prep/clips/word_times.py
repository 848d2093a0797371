"""When the words of a clip are spoken: start and end in seconds of each whitespace-separated word."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

Times = tuple[tuple[float, float], ...]
"""(start, end) in seconds of each whitespace-separated word of a text; empty where unknown."""


class Span(NamedTuple):
    """A piece of text, from a single word to a whole subtitle, and its start and end in seconds."""

    text: str
    start: float
    end: float


class Words(NamedTuple):
    """The words of a clip.

    Attributes:
        text: the words.
        times: when each word is spoken; empty where unknown.
        untimed: why given times are not used; "" if they are, or if none are given.
        encoding: the detected encoding of the file that holds them; "" if it is certain, or if there is none.
    """

    text: str
    times: Times = ()
    untimed: str = ""
    encoding: str = ""


def timed(text: str, spans: Sequence[Span], encoding: str = "") -> Words:
    """Words with the times of the given pieces, or without times and the reason if these do not fit the text."""
    if not spans:
        return Words(text, encoding=encoding)
    try:
        return Words(text, times_of_words(text, spans), encoding=encoding)
    except ValueError as error:
        return Words(text, untimed=str(error), encoding=encoding)


def times_of_words(text: str, spans: Sequence[Span]) -> Times:
    """The times of the words of a text.

    Each span's time is divided evenly among its letters (all characters but whitespace). A word lasts from the start of
    its first letter to the end of its last.

    Args:
        text: the words.
        spans: pieces of the text, in order.

    Raises:
        ValueError: the spans do not spell the text, or their times are not finite, are negative, or descend.
    """
    letters = [letter for span in spans for letter in _letters(span)]
    if "".join(letter for letter, _, _ in letters) != "".join(text.split()):
        raise ValueError("the timed pieces do not spell the transcript")
    times: list[tuple[float, float]] = []
    position = 0
    for word in text.split():
        first, last = letters[position], letters[position + len(word) - 1]
        times.append((first[1], last[2]))
        position += len(word)
    if fault := time_fault(times):
        raise ValueError(fault)
    return tuple(times)


def time_fault(times: Sequence[Sequence[float]]) -> str:
    """What is wrong with the times [W, 2] of words; "" if nothing. Words may overlap, as in a dialogue."""
    if not all(math.isfinite(second) for pair in times for second in pair):
        return "word times that are not finite"
    if any(start < 0 or end < start for start, end in times):
        return "a word that starts before 0 s or ends before it starts"
    if any(later[0] < earlier[0] for earlier, later in itertools.pairwise(times)):
        return "words that are not in order of time"
    return ""


def _letters(span: Span) -> list[tuple[str, float, float]]:
    letters = "".join(span.text.split())
    edges = [span.start + (span.end - span.start) * k / max(1, len(letters)) for k in range(len(letters) + 1)]
    return list(zip(letters, edges, edges[1:], strict=False))
