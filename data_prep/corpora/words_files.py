"""Reads a file with the words of one clip: plain text, Whisper's or WhisperX's JSON, SRT or VTT subtitles."""

import html
import itertools
import json
import re
from pathlib import Path
from typing import Any

from data_prep.corpora.text import Text, read_text
from data_prep.errors import CorpusError

WORDS_ENDINGS = (".txt", ".json", ".srt", ".vtt")
"""Endings of files with words, by precedence: of several files with one name, the first listed here is read."""

TIMING = re.compile(r"\s*(\d+:)+\d+([.,]\d+)?\s*-->")
SPOKEN_AT = re.compile(r"(?m)^\[[\d:.,]+ --> [\d:.,]+\]")
"""The times at the start of each line that Whisper prints to a terminal."""
MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<[\d:.]+>|\{\\[^{}]*\}")
WORD_TIME = re.compile(r"<\d[\d:.]*>")
ROLLS = 2
"""Number of cues that repeat and extend the previous line at which captions count as roll-up captions."""


def read_words(path: Path) -> Text:
    """The words in a file, without the numbers, times and markup of subtitles.

    Raises:
        CorpusError: the file cannot be read, or does not hold words.
    """
    text, encoding = read_text(path)
    ending = path.suffix.lower()
    if ending == ".json":
        words = words_of_json(parse_json(path, text))
        if words is None:
            raise CorpusError(f"{path}: found other JSON than Whisper's, expected an object with 'text' or 'segments'")
        text = words
    if not is_text(text):
        raise CorpusError(f"{path}: found a zero character or half of one (\\ud800 to \\udfff), expected text")
    if ending == ".json":
        return Text(text, encoding)
    if ending not in (".srt", ".vtt"):
        return Text(SPOKEN_AT.sub("", text).strip(), encoding)
    if text.strip() and not text.startswith("WEBVTT") and not any(map(TIMING.match, text.splitlines())):
        raise CorpusError(f"{path}: found no times, expected subtitles, as in 00:00:01,000 --> 00:00:02,000")
    return Text(subtitle_words(text, blank_ends=ending == ".vtt"), encoding)


def is_text(words: str) -> bool:
    """Whether words are free of NUL characters and lone surrogates (from JSON escapes), which no text contains."""
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in words)


def parse_json(path: Path, text: str) -> Any:
    """The content of a JSON file.

    Raises:
        CorpusError: the content is not valid JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{path}: found broken JSON ({error}), expected words by name, or Whisper's result") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ():
        raise ValueError(f"{min(twice)!r} more than once")
    return dict(pairs)


def words_of_json(found: Any) -> str | None:
    """The words in the output of Whisper (`text`) or WhisperX (`segments`); None for any other JSON.

    WhisperX may also write just the list of segments; whisper.cpp calls it `transcription`.
    """
    if isinstance(found, str):
        return found.strip()
    if isinstance(found, dict) and isinstance(found.get("text"), str):
        return found["text"].strip()
    segments = found.get("segments", found.get("transcription")) if isinstance(found, dict) else found
    if not isinstance(segments, list):
        return None
    parts = [segment.get("text") for segment in segments if isinstance(segment, dict)]
    words = [part.strip() for part in parts if isinstance(part, str)]
    return " ".join(words) if len(words) == len(segments) else None


def subtitle_words(text: str, blank_ends: bool) -> str:
    """The words of subtitles, in the order of the cues.

    A cue is the text after a line of times, up to the number or name of the next cue. Lines that roll-up captions
    repeat from the previous cue are dropped.

    Args:
        text: the content of an SRT or VTT file.
        blank_ends: whether a blank line ends a cue, as in VTT, where a name, a note or a style may follow it.
    """
    lines = text.splitlines()
    cues: list[list[str]] = []
    is_cue = False
    for line, following in zip(lines, [*lines, ""][1:], strict=True):
        is_number = line.strip().isdecimal() and TIMING.match(following)
        if TIMING.match(line):
            is_cue = True
            cues.append([])
        elif not line.strip():
            is_cue = is_cue and not blank_ends
        elif is_cue and not is_number:
            words = " ".join(html.unescape(MARKUP.sub("", line)).split())
            cues[-1] += [words] if words else []
    repeated = [0] + [_repeated(before, cue) for before, cue in itertools.pairwise(cues)]
    extending = sum(0 < count < len(cue) for count, cue in zip(repeated, cues, strict=False))
    if extending < ROLLS and not WORD_TIME.search(text):
        repeated = [0] * len(cues)
    return " ".join(line for count, cue in zip(repeated, cues, strict=False) for line in cue[count:])


def _repeated(before: list[str], cue: list[str]) -> int:
    """How many lines at the start of a cue repeat the last lines of the previous cue."""
    counts = range(min(len(before), len(cue)), 0, -1)
    return next((count for count in counts if before[-count:] == cue[:count]), 0)
