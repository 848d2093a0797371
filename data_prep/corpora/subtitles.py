"""Reads SRT and VTT subtitles."""

import html
import itertools
import math
import re
from typing import NamedTuple

from data_prep.clips.word_times import Span

TIMING = re.compile(r"\s*((?:\d+:)+\d+(?:[.,]\d+)?)\s*-->\s*((?:\d+:)+\d+(?:[.,]\d+)?)?")
MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<[\d:.]+>|\{\\[^{}]*\}")
WORD_TIME = re.compile(r"<\d[\d:.]*>")
ROLLS = 2
"""Number of cues that repeat and extend the previous line at which captions count as roll-up captions."""


class _Cue(NamedTuple):
    """The lines of a cue, and its start and end in seconds."""

    start: float
    end: float
    lines: list[str]


def has_times(text: str) -> bool:
    """Whether any line holds the times of a cue."""
    return any(map(TIMING.match, text.splitlines()))


def read_cues(text: str, blank_ends: bool) -> list[Span]:
    """The words of subtitles with the times of their cues, in order.

    A cue is the text after a line of times, up to the number or name of the next cue. Lines that roll-up captions
    repeat from the previous cue are dropped.

    Args:
        text: the content of an SRT or VTT file.
        blank_ends: whether a blank line ends a cue, as in VTT, where a name, a note or a style may follow it.
    """
    lines = text.splitlines()
    cues: list[_Cue] = []
    is_cue = False
    for line, following in zip(lines, [*lines, ""][1:], strict=True):
        is_number = line.strip().isdecimal() and TIMING.match(following)
        if timing := TIMING.match(line):
            is_cue = True
            cues.append(_Cue(seconds(timing[1]), seconds(timing[2]) if timing[2] else math.nan, []))
        elif not line.strip():
            is_cue = is_cue and not blank_ends
        elif is_cue and not is_number:
            words = " ".join(html.unescape(MARKUP.sub("", line)).split())
            cues[-1].lines.extend([words] if words else [])
    repeated = [0] + [_repeated(before.lines, cue.lines) for before, cue in itertools.pairwise(cues)]
    extending = sum(0 < count < len(cue.lines) for count, cue in zip(repeated, cues, strict=False))
    if extending < ROLLS and not WORD_TIME.search(text):
        repeated = [0] * len(cues)
    kept = [(" ".join(cue.lines[count:]), cue) for count, cue in zip(repeated, cues, strict=False)]
    return [Span(words, cue.start, cue.end) for words, cue in kept if words]


def seconds(stamp: str) -> float:
    """The seconds of a time such as 00:00:01,500, 1:02.5 or 2.5."""
    total = 0.0
    for part in stamp.replace(",", ".").split(":"):
        total = 60 * total + float(part)
    return total


def _repeated(before: list[str], cue: list[str]) -> int:
    """How many lines at the start of a cue repeat the last lines of the previous cue."""
    counts = range(min(len(before), len(cue)), 0, -1)
    return next((count for count in counts if before[-count:] == cue[:count]), 0)
