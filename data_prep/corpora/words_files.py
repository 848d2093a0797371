"""Reads one file with the words of one clip: plain text, Whisper's or WhisperX's JSON, SRT or VTT subtitles."""

import html
import itertools
import json
import re
from pathlib import Path
from typing import Any

from data_prep.corpora.text import Text, read_text
from data_prep.errors import CorpusError

WORDS_ENDINGS = (".txt", ".json", ".srt", ".vtt")
"""Endings of files with words; of several files of one name, the first of these is read."""

TIMING = re.compile(r"\s*(\d+:)+\d+([.,]\d+)?\s*-->")
SPOKEN_AT = re.compile(r"(?m)^\[[\d:.,]+ --> [\d:.,]+\]")
"""How Whisper begins the lines that it prints on a terminal."""
MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<[\d:.]+>|\{\\[^{}]*\}")
WORD_TIME = re.compile(r"<\d[\d:.]*>")
ROLLS = 2
"""Cues that begin with the line before them and go on, from which captions are taken to roll."""


def read_words(path: Path) -> Text:
    """The words in a file, without subtitles' numbers, times and markup.

    Raises:
        CorpusError: the file cannot be read, or is no file with words.
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
    """Whether there is nothing that no text holds: zero characters, and halves of characters from JSON's escapes."""
    return not any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in words)


def parse_json(path: Path, text: str) -> Any:
    """The content of a JSON file.

    Raises:
        CorpusError: it is broken.
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
    """The words in the result of Whisper (`text`) or WhisperX (`segments`); None for any other JSON.

    WhisperX also writes the bare list of segments; whisper.cpp calls it `transcription`.
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
    """The words of subtitles, cue after cue.

    A cue is what follows a line of times, up to the number or name of the next cue. What captions that roll repeat of
    the cue before is left out.

    Args:
        text: the content of an SRT or VTT file.
        blank_ends: whether a blank line ends a cue: what follows it in VTT is a name, a note or a style.
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
    goes_on = sum(0 < count < len(cue) for count, cue in zip(repeated, cues, strict=False))
    if goes_on < ROLLS and not WORD_TIME.search(text):
        repeated = [0] * len(cues)
    return " ".join(line for count, cue in zip(repeated, cues, strict=False) for line in cue[count:])


def _repeated(before: list[str], cue: list[str]) -> int:
    """How many lines at the start of a cue are the last ones of the cue before it."""
    counts = range(min(len(before), len(cue)), 0, -1)
    return next((count for count in counts if before[-count:] == cue[:count]), 0)
