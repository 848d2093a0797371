"""Reads words and their times as annotation tools write them: Praat's TextGrid, and tab-separated tables.

Of several tiers, those named as by forced aligners hold the words: "word" is in the name (one tier for each speaker),
or it starts with "ORT" (WebMAUS). Without one, the only tier does.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_prep.clips.word_times import Span
from data_prep.corpora.subtitles import seconds
from data_prep.errors import CorpusError
from emi_jax.report.terminal import printable

WORD_TIER = re.compile(r"(?i).*word|ort")
TIER_COLUMN = "tier"
PAUSES = ("sil", "sp", "spn", "<eps>", "<p:>", "<sil>", "#")
"""Labels of intervals in which nothing is said, as aligners write them."""

TOKEN = re.compile(
    r'"(?P<text>(?:[^"]|"")*)"|(?P<comment>![^\r\n]*)|(?<!\S)(?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\S)|\S'
)
"""Strings, comments and free-standing numbers; everything else in a TextGrid is for human readers."""

CLOCK, DECIMAL, WHOLE = r"\d+:\d+:\d+[.,]\d+", r"\d+[.,]\d+", r"\d+"
"""Times in a table: hh:mm:ss.sss, seconds, and milliseconds."""


def read_textgrid(path: Path, text: str) -> list[Span]:
    """The words of a TextGrid in Praat's long or short text form, ordered by time. Points are not read.

    Raises:
        CorpusError: the text is no TextGrid, or it is unclear which tier holds the words.
    """
    try:
        tiers = _tiers(_tokens(text))
    except (ValueError, StopIteration, KeyError):
        raise CorpusError(
            f"{path}: found no complete TextGrid, expected one that Praat saved as a (short) text file"
        ) from None
    return _words_of(path, tiers)


def read_rows(path: Path, text: str) -> list[Span]:
    """The words of a tab-separated table, ordered by time: Whisper's TSV, or an export of ELAN.

    Columns with times are found by their content: hh:mm:ss.sss, decimal seconds, or whole milliseconds. The first is
    the start, the second of the same form the end. The header names the tiers, or the first column does.

    Returns:
        The words; none if the text is no such table.

    Raises:
        CorpusError: it is unclear which tier holds the words.
    """
    rows = [line.split("\t") for line in text.splitlines() if line.strip()]
    if not rows or len(rows[0]) < 3 or any(len(row) != len(rows[0]) for row in rows):
        return []
    header = [] if any(_form(cell) for cell in rows[0]) else rows.pop(0)
    forms = [{_form(cell) for cell in column} for column in zip(*rows, strict=True)]
    by_form = ([k for k, found in enumerate(forms) if found == {form}] for form in (CLOCK, DECIMAL, WHOLE))
    times = next((columns for columns in by_form if len(columns) >= 2), [])
    others = [k for k, column in enumerate(zip(*rows, strict=True)) if not all(map(_is_number, column))]
    if not times or not others:
        return []
    named = [k for k in others if header and TIER_COLUMN in header[k].casefold()] or ([] if header else others[:-1])
    tiers: dict[str, list[Span]] = {}
    for row in rows:
        start, end = (_seconds(row[k]) for k in times[:2])
        for k in others if header and not named else others[-1:]:
            name = row[named[0]] if named else header[k] if header else ""
            tiers.setdefault(name, []).append(Span(row[k].strip(), start, end))
    return _words_of(path, tiers)


def _words_of(path: Path, tiers: Mapping[str, Sequence[Span]]) -> list[Span]:
    named = [name for name in tiers if WORD_TIER.match(name)]
    chosen = named or list(tiers)
    if len(chosen) > 1 and not named:
        raise CorpusError(
            f"{path}: found the tiers {', '.join(map(printable, chosen))}, expected a single one, or one with "
            "'word' in its name"
        )
    spans = [span for name in chosen for span in tiers[name] if span.text and span.text.casefold() not in PAUSES]
    return sorted(spans, key=lambda span: span.start)


def _tokens(text: str) -> Iterator[str | float]:
    """The strings and numbers of a TextGrid, in order."""
    for match in TOKEN.finditer(text):
        if match["text"] is not None:
            yield match["text"].replace('""', '"')
        elif match["number"] is not None:
            yield float(match["number"])


def _tiers(tokens: Iterator[str | float]) -> dict[str, list[Span]]:
    """The interval tiers by name.

    Raises:
        ValueError, StopIteration: the tokens are not those of a whole TextGrid.
    """

    def number() -> float:
        if isinstance(token := next(tokens), str):
            raise ValueError(token)
        return token

    if not str(next(tokens)).startswith("ooTextFile") or next(tokens) != "TextGrid":
        raise ValueError
    number(), number()
    tiers: dict[str, list[Span]] = {}
    for _ in range(int(number())):
        kind, name = next(tokens), str(next(tokens))
        number(), number()
        intervals = tiers.setdefault(name, []) if kind == "IntervalTier" else []
        for _ in range(int(number())):
            start = number()
            end = number() if kind == "IntervalTier" else start
            intervals.append(Span(" ".join(str(next(tokens)).split()), start, end))
    return tiers


def _is_number(cell: str) -> bool:
    """Whether a cell is empty, a time or any other number."""
    try:
        return not cell.strip() or bool(_form(cell)) or math.isfinite(float(cell))
    except ValueError:
        return False


def _form(cell: str) -> str:
    """Which of the forms of times a cell has; "" if none."""
    return next((form for form in (CLOCK, DECIMAL, WHOLE) if re.fullmatch(form, cell.strip())), "")


def _seconds(cell: str) -> float:
    return seconds(cell.strip()) if not re.fullmatch(WHOLE, cell.strip()) else int(cell) / 1000
