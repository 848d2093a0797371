"""Words and their times in the JSON that Whisper, WhisperX and whisper.cpp write."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from data_prep.clips.word_times import Span

SPECIAL = "[_"
"""Start of whisper.cpp's tokens that are no words, such as [_BEG_]."""


class Heard(NamedTuple):
    """A text, and the pieces of it whose times are known; no pieces if the file holds no times."""

    text: str
    spans: tuple[Span, ...] = ()


def words_of_json(found: Any) -> Heard | None:
    """The words in the output of Whisper (`text`) or WhisperX (`segments`); None for any other JSON.

    WhisperX may also write just the list of segments; whisper.cpp calls it `transcription`. The times are those of the
    single words where these spell their segment, else those of the segment. A word without times, as WhisperX writes
    numbers, lasts from the end of the word before it to the start of the word after it.
    """
    if isinstance(found, str):
        return Heard(found.strip())
    is_object = isinstance(found, dict)
    segments = found.get("segments", found.get("transcription")) if is_object else found
    if is_object and isinstance(found.get("text"), str):
        whole = {"text": found["text"], "words": found.get("words")}  # words next to a text: OpenAI's API
        return Heard(found["text"].strip(), _spans(segments if isinstance(segments, list) else [whole]))
    if not isinstance(segments, list):
        return None
    parts = [segment.get("text") for segment in segments if isinstance(segment, dict)]
    words = [part.strip() for part in parts if isinstance(part, str)]
    return Heard(" ".join(words), _spans(segments)) if len(words) == len(segments) else None


def _spans(segments: Sequence[Any]) -> tuple[Span, ...]:
    """The timed pieces of all segments; none if one of them has no times."""
    spans: list[Span] = []
    for segment in segments:
        own = list(_spans_of_segment(segment)) if isinstance(segment, dict) else []
        if not own:
            return ()
        spans += own
    return tuple(spans)


def _spans_of_segment(segment: Mapping[str, Any]) -> Iterator[Span]:
    text = segment.get("text")
    start, end = _times(segment)
    pieces = [_piece(word) for word in segment.get("words") or segment.get("tokens") or () if isinstance(word, dict)]
    pieces = [piece for piece in pieces if not piece.text.strip().startswith(SPECIAL)]
    if pieces and isinstance(text, str) and _spelled(piece.text for piece in pieces) == _spelled([text]):
        start = pieces[0].start if math.isnan(start) else start
        end = pieces[-1].end if math.isnan(end) else end
        yield from _filled(pieces, start, end)
    elif isinstance(text, str) and not math.isnan(start + end):
        yield Span(text, start, end)


def _piece(word: Mapping[str, Any]) -> Span:
    return Span(str(word.get("word", word.get("text", ""))), *_times(word))


def _times(entry: Mapping[str, Any]) -> tuple[float, float]:
    """Start and end in seconds; NaN where unknown. whisper.cpp writes `offsets` in milliseconds."""
    offsets = entry.get("offsets")
    if isinstance(offsets, dict):
        return _number(offsets.get("from")) / 1000, _number(offsets.get("to")) / 1000
    return _number(entry.get("start")), _number(entry.get("end"))


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _spelled(texts: Any) -> str:
    return "".join("".join(text.split()) for text in texts)


def _filled(pieces: Sequence[Span], start: float, end: float) -> Iterator[Span]:
    """The pieces with times in place of unknown ones; neighbours without times share the time between the others."""
    untimed, last = "", start
    for piece in pieces:
        if math.isnan(piece.start + piece.end):
            untimed += piece.text
            continue
        if untimed:
            yield Span(untimed, last, max(last, piece.start))
        yield piece
        untimed, last = "", piece.end
    if untimed:
        yield Span(untimed, last, max(last, end))
