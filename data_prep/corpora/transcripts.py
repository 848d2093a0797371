"""Reads transcripts from a CSV table (columns Filename, Transcript) or a JSON object {name: text}."""

import json
from pathlib import Path

from data_prep.corpora.tables import read_table
from data_prep.errors import CorpusError


def read_transcripts(path: Path) -> dict[str, str]:
    """Transcripts by clip name, without file ending.

    Raises:
        CorpusError: the file is missing or is neither of the two forms.
    """
    if path.suffix.lower() != ".json":
        return {plain_name(row.name): row.cells["Transcript"] for row in read_table(path, ["Transcript"]).rows}
    try:
        table = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file, expected transcripts as JSON or CSV") from None
    except ValueError as error:
        raise CorpusError(f"{path}: found broken JSON ({error}), expected an object {{name: text}}") from None
    if not isinstance(table, dict):
        raise CorpusError(f"{path}: found a JSON {type(table).__name__}, expected an object {{name: text}}")
    for name, text in table.items():
        if not isinstance(text, str) or any("\ud800" <= letter <= "\udfff" for letter in text):  # half a letter
            raise CorpusError(f"{path}, entry {name!r}: found {text!r}, expected text")
    return {plain_name(name): text for name, text in table.items()}


def plain_name(name: str) -> str:
    """A clip's name without the ending of a media file."""
    stem, dot, ending = name.rpartition(".")
    return stem if dot and ending.isalnum() and not ending.isdigit() and stem else name
