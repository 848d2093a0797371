"""Reads one file with the words of one clip: plain text, Whisper's or WhisperX's JSON, SRT or VTT subtitles."""

import html
import json
import re
from pathlib import Path
from typing import Any

from data_prep.corpora.text import Text, read_text
from data_prep.errors import CorpusError

WORDS_ENDINGS = (".txt", ".json", ".srt", ".vtt")
"""Endings of files with words; of several files of one name, the first of these is read."""

TIMING = re.compile(r"\s*(\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s*-->")
MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


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
        if any("\ud800" <= letter <= "\udfff" for letter in words):
            raise CorpusError(f"{path}: found half of a character's escape (\\ud800 to \\udfff), expected text")
        return Text(words, encoding)
    return Text(subtitle_words(text) if ending in (".srt", ".vtt") else text.strip(), encoding)


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

    WhisperX also writes the bare list of segments.
    """
    if isinstance(found, str):
        return found.strip()
    if isinstance(found, dict) and isinstance(found.get("text"), str):
        return found["text"].strip()
    segments = found.get("segments") if isinstance(found, dict) else found
    if not isinstance(segments, list):
        return None
    parts = [segment.get("text") for segment in segments if isinstance(segment, dict)]
    words = [part.strip() for part in parts if isinstance(part, str)]
    return " ".join(words) if len(words) == len(segments) else None


def subtitle_words(text: str) -> str:
    """The words of SRT or VTT subtitles, cue after cue; a cue is what follows a line of times up to a blank line."""
    words: list[str] = []
    is_cue = False
    for line in text.splitlines():
        if TIMING.match(line):
            is_cue = True
        elif not line.strip():
            is_cue = False
        elif is_cue:
            words += html.unescape(MARKUP.sub("", line)).split()
    return " ".join(words)
