"""Reads a file with the words of one clip: plain text, Whisper's JSON, subtitles, a TextGrid or a table of times."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.clips.word_times import Span, Words, timed
from data_prep.corpora.annotations import read_rows, read_textgrid
from data_prep.corpora.subtitles import has_times, read_cues
from data_prep.corpora.text import read_text
from data_prep.corpora.whisper_json import words_of_json
from data_prep.errors import CorpusError

WORDS_ENDINGS = (".txt", ".json", ".srt", ".vtt", ".textgrid", ".tsv")
"""Endings of files with words, by precedence: of several files with one name, the first listed here is read."""

EMPTY_TSV = "start\tend\ttext"
"""What Whisper writes where nothing is said."""
SPOKEN_AT = re.compile(r"(?m)^\[[\d:.,]+ --> [\d:.,]+\]")
"""The times at the start of each line that Whisper prints to a terminal."""


def read_words(path: Path) -> Words:
    """The words in a file, without the numbers, times and markup of subtitles, and when they are spoken.

    Raises:
        CorpusError: the file cannot be read, or does not hold words.
    """
    text, encoding = read_text(path)
    ending = path.suffix.lower()
    spans: Sequence[Span] = ()
    if ending == ".json":
        heard = words_of_json(parse_json(path, text))
        if heard is None:
            raise CorpusError(f"{path}: found other JSON than Whisper's, expected an object with 'text' or 'segments'")
        text, spans = heard
    elif ending in (".srt", ".vtt"):
        if text.strip() and not text.startswith("WEBVTT") and not has_times(text):
            raise CorpusError(f"{path}: found no times, expected subtitles, as in 00:00:01,000 --> 00:00:02,000")
        spans = read_cues(text, blank_ends=ending == ".vtt")
        text = " ".join(span.text for span in spans)
    elif ending == ".textgrid":
        spans = read_textgrid(path, text)
        text = " ".join(span.text for span in spans)
    elif rows := read_rows(path, text):
        spans = rows
        text = " ".join(span.text for span in spans)
    elif ending == ".tsv" and text.strip() != EMPTY_TSV:
        raise CorpusError(f"{path}: found no rows with start, end and words, expected those of Whisper or ELAN")
    else:
        text = SPOKEN_AT.sub("", text).strip().removeprefix(EMPTY_TSV)
    if not is_text(text):
        raise CorpusError(f"{path}: found a zero character or half of one (\\ud800 to \\udfff), expected text")
    return timed(text, spans, encoding)


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
