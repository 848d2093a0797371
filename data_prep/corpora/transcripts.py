"""Finds the words of clips: in a table, in a JSON file, or in a folder with one file per clip."""

from collections.abc import Collection, Sequence
from pathlib import Path

from data_prep.clips.word_times import Words, timed
from data_prep.corpora.languages import split_language
from data_prep.corpora.media_files import some
from data_prep.corpora.names import AmbiguousNameError, NameIndex, Thing
from data_prep.corpora.tables import FILENAME, TRANSCRIPT, meaning, read_table
from data_prep.corpora.text import read_text
from data_prep.corpora.whisper_json import words_of_json
from data_prep.corpora.words_files import WORDS_ENDINGS, is_text, parse_json, read_words
from data_prep.errors import CorpusError
from emi_jax.report.terminal import counted, printable

OTHER_USES = (".json", ".tsv")
"""Endings in WORDS_ENDINGS of files that often hold something else."""


class Transcripts:
    """The words of clips, by name.

    A clip without a file of exactly its name gets one with a language code, `a.en.srt`, if there is only one language.

    Args:
        place: the path that they were read from, for messages.
        words: by name with or without a media ending, the words or the file that holds them.
        notes: notes on how they were read.
    """

    def __init__(self, place: Path, words: dict[str, Words | Path], notes: Collection[str] = ()):
        self.place, self.notes = place, tuple(notes)
        self._index: NameIndex[Words | Path] = NameIndex(words)
        by_language: dict[str, list[str]] = {}
        for own in (own for own, found in words.items() if isinstance(found, Path)):
            base, code = split_language(own)
            if code:
                by_language.setdefault(base, []).append(own)
        self._by_language: NameIndex[list[str]] = NameIndex(by_language)
        self._words = words
        self._used: set[str] = set()
        self._several: list[list[str]] = []

    def find(self, *names: str) -> Words | None:
        """The words of a clip, found by the first of its names that matches; None if none matches.

        Raises:
            CorpusError: several entries match, or the clip's file of words cannot be read.
        """
        if found := self._find(self._index, names):
            return self._take(found[0])
        if languages := self._find(self._by_language, names):
            files = languages[1]
            if len(files) == 1:
                return self._take(files[0])
            self._used.update(files)
            self._several.append(files)
        return None

    def _find(self, index: NameIndex[Thing], names: Sequence[str]) -> tuple[str, Thing] | None:
        for name in names:
            try:
                if found := index.find(name):
                    return found
            except AmbiguousNameError as error:
                raise CorpusError(
                    f"{self.place}: clip {printable(name)!r} matches {' and '.join(map(printable, error.candidates))}; "
                    "keep the words of one of them"
                ) from None
        return None

    def _take(self, own: str) -> Words:
        self._used.add(own)
        words = self._words[own]
        return read_words(words) if isinstance(words, Path) else words

    def unmatched(self) -> list[str]:
        """Notes on entries that no call of `find` has matched so far, and on clips with words in several languages."""
        names = sorted(self._index.names() - self._used)
        notes = [f"{counted(len(names), 'transcript')} in {self.place} without a clip: {some(names)}"] if names else []
        if self._several:
            notes.append(
                f"{counted(len(self._several), 'clip')} in {self.place} with words in several languages, of which none "
                f"are read: {', '.join(self._several[0])} the first; keep one of them"
            )
        return notes

    def files(self) -> set[Path]:
        """The files that each hold the words of one clip."""
        return {words for words in self._index.things() if isinstance(words, Path)}


def read_transcripts(path: Path) -> Transcripts:
    """Reads transcripts.

    Args:
        path: a table with columns Filename and Transcript; a JSON object {name: words} or list of objects with a
            name and words; or a folder of files `NAME.txt`, `.json`, `.srt`, `.vtt`, `.TextGrid` or `.tsv`, where NAME
            is the clip's name with or without its media ending, and a language code may follow it.

    Raises:
        CorpusError: the path is none of these.
    """
    if path.is_dir():
        words = words_files(path)
        if not words:
            raise CorpusError(f"{path}: found no transcript, expected files named NAME{', NAME'.join(WORDS_ENDINGS)}")
        return Transcripts(path, words)
    if path.suffix.lower() != ".json":
        table = read_table(path, [TRANSCRIPT], folders=True)
        return Transcripts(path, {row.name: Words(row.cells[TRANSCRIPT]) for row in table.rows}, table.notes)
    text, encoding = read_text(path)
    return Transcripts(path, _by_name(path, text), [f"{path.name}: read as {encoding}"] if encoding else [])


def words_files(folder: Path, are_certain: bool = True) -> dict[str, Words | Path]:
    """The files in a folder that hold words, by name without the file ending.

    Args:
        folder: the folder.
        are_certain: whether all files are known to hold words; if not, JSON files and tables without words are skipped.
    """
    found: dict[str, Words | Path] = {}
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in WORDS_ENDINGS and path.is_file()]
    for path in sorted(files, key=lambda path: WORDS_ENDINGS.index(path.suffix.lower())):
        is_certain = are_certain or path.suffix.lower() not in OTHER_USES
        if not path.name.startswith(".") and (is_certain or _holds_words(path)):
            found.setdefault(path.stem, path)
    return found


def _holds_words(path: Path) -> bool:
    try:
        read_words(path)
    except CorpusError:
        return False
    return True


def _by_name(path: Path, text: str) -> dict[str, Words | Path]:
    table = parse_json(path, text)
    if isinstance(table, list):
        table = _by_name_of_records(path, table)
    if not isinstance(table, dict):
        raise CorpusError(f"{path}: found a JSON {type(table).__name__}, expected an object {{name: text}}")
    words: dict[str, Words | Path] = {}
    for name, found in table.items():
        heard = words_of_json(found)
        if heard is None or not is_text(heard.text):
            raise CorpusError(f"{path}, entry {name!r}: found {printable(repr(found)[:80])}, expected text")
        words[name] = timed(*heard)
    return words


def _by_name_of_records(path: Path, records: list) -> dict[str, object]:
    """[{"Filename": ..., "Transcript": ...}] as {name: words}; fields match by the same rules as table columns."""
    words: dict[str, object] = {}
    for number, record in enumerate(records, start=1):
        fields = {meaning(key): value for key, value in record.items()} if isinstance(record, dict) else {}
        name = fields.get(FILENAME)
        if not isinstance(name, str) or TRANSCRIPT not in fields or name in words:
            raise CorpusError(
                f"{path}, entry {number}: found {printable(repr(record)[:80])}, expected an object with "
                f"{TRANSCRIPT!r} and a {FILENAME!r} that is not used yet"
            )
        words[name] = fields[TRANSCRIPT]
    return words
