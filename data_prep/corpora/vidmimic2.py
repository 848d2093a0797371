"""Hume-Vidmimic2: `raw/`, `audio/`, `face_images/`, one table of labels per split, and `test_data/` for the test split.

Files are joined to the tables by clip name, never by row. Feature files (`vit/`, `wav2vec2/`) are pickles and are never
opened.
"""

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from data_prep.clips.clip import ClipSource
from data_prep.corpora import Corpus
from data_prep.corpora.endings import without_media_ending
from data_prep.corpora.folder import words_remarks
from data_prep.corpora.media_files import list_media
from data_prep.corpora.names import AmbiguousNameError, NameIndex, nfc
from data_prep.corpora.numbers import NUMBER
from data_prep.corpora.tables import FILENAME, RESERVED, SUBJECT, Row, Table, plain, read_table
from data_prep.corpora.transcripts import Transcripts, read_transcripts
from data_prep.errors import CorpusError
from data_prep.features.rows import PICKLED
from emi_jax.report.terminal import counted, printable

LABELS = ("Admiration", "Amusement", "Determination", "Empathic Pain", "Excitement", "Joy")
TABLES = {"train": "train_split.csv", "valid": "valid_split.csv", "test": "test_split.csv"}
TEST_DATA = "test_data"
WORDS = ("transcripts.csv", "transcripts.json", "transcripts", "text")
"""Where to look for words without --transcripts, in the corpus' folder and in test_data/."""


def read_vidmimic2(source: Path, transcripts: Path | None, features: Collection[Path] = ()) -> Corpus:
    """Finds the clips of a folder in Vidmimic2's layout.

    Clips of the test split are in test_data/ or next to the other clips. The challenge does not publish the test
    labels, and public pipelines fill the test table with zeros: a table of zeros, or of names only, means that the
    split is unlabelled. Subjects are read from `subjects.csv` if it exists.

    Args:
        source: the folder that holds `raw/` and `train_split.csv`.
        transcripts: a path for `read_transcripts`; by default those of WORDS that exist.
        features: files and folders with users' own features, which need no media and hold no words.

    Raises:
        CorpusError: a folder or table is missing or invalid, or a clip occurs twice.
    """
    if not features and not any((source / folder).is_dir() for folder in ("raw", "audio", "face_images")):
        raise CorpusError(f"{source}: found neither raw/ nor face_images/, expected the folders of Hume-Vidmimic2")
    words = _words(source, transcripts, features)
    subjects = _subjects(source / "subjects.csv")
    main, test = _Files(source), _Files(source / TEST_DATA)
    notes: list[str] = []
    clips: list[ClipSource] = []
    rows: dict[object, Row] = {}
    for split, name in TABLES.items():
        if split == "test" and not (source / name).is_file():
            continue
        table = read_table(source / name, () if split == "test" and _has_names_alone(source / name) else LABELS)
        notes += [*table.notes, *_extra_columns(table)]
        unlabelled = split == "test" and _is_unlabelled(table)
        if unlabelled:
            notes.append(f"{name}: no labels, or one and the same value everywhere: the split test is unlabelled")
        for row in table.rows:
            labels = () if unlabelled else tuple(row.number(label, 0.0, 1.0) for label in LABELS)
            try:
                found = (split == "test" and test.find(row.name)) or main.find(row.name)
            except AmbiguousNameError as error:
                raise row.fault(FILENAME, f"a name that fits one clip, not {' and '.join(error.candidates)}") from None
            clip = found or ClipSource(_full(row.name), source / "raw" / f"{_full(row.name)}.mp4")
            place = clip.video or clip.audio or clip.faces
            if (other := rows.setdefault(place, row)) is not row:
                raise row.fault(
                    FILENAME, f"another clip: {other.name!r} ({other.path.name}, line {other.line}) is the same one"
                )
            clips.append(dataclasses.replace(clip, split=split, labels=labels))
    if not any(clip.split == "test" for clip in clips):
        clips += [dataclasses.replace(clip, split="test") for clip in test.clips()]
    clips = [_with_words(clip, words, subjects) for clip in clips]
    notes += _notes(source, [*main.clips(), *test.clips()], clips)
    notes += _word_notes(clips, words)
    return Corpus("vidmimic2", LABELS, (0.0, 1.0), tuple(clips), notes=tuple(notes))


class _Files:
    """The files of the clips in one root folder, by clip name."""

    def __init__(self, root: Path):
        self._video, self._audio = list_media(root / "raw").media, list_media(root / "audio").media
        if not len(self._video):  # test_data/ is often one flat folder
            self._video = list_media(root).media
        images = root / "face_images"
        self._faces = NameIndex({path.name: path for path in sorted(images.iterdir())} if images.is_dir() else {})

    def find(self, name: str) -> ClipSource | None:
        """The clip with a name, with all files of that name; None if there are none.

        Raises:
            AmbiguousNameError: several match.
        """
        found = [index.find(name) for index in (self._video, self._audio, self._faces)]
        own = [nfc(without_media_ending(match[0])) for match in found if match]
        if not own:
            return None
        paths = [match[1] if match else None for match in found]
        return ClipSource(printable(_full(own[0])), video=paths[0], audio=paths[1], faces=paths[2])

    def clips(self) -> list[ClipSource]:
        """All clips, ordered by name."""
        names = self._video.names() | self._audio.names() | self._faces.names()
        found: dict[str, ClipSource] = {}
        for name in sorted(map(without_media_ending, names)):
            if clip := self.find(name):
                found.setdefault(clip.id, clip)
        return list(found.values())


def _words(source: Path, transcripts: Path | None, features: Collection[Path]) -> list[Transcripts]:
    if transcripts:
        return [read_transcripts(transcripts)]
    places = [root / name for root in (source, source / TEST_DATA) for name in WORDS]
    places = [place for place in places if place.absolute() not in {path.absolute() for path in features}]
    return [read_transcripts(place) for place in places if place.is_file() or (place.is_dir() and any(place.iterdir()))]


def _subjects(path: Path) -> NameIndex[str]:
    rows = read_table(path, [SUBJECT]).rows if path.is_file() else ()
    return NameIndex({row.name: row.cells[SUBJECT] for row in rows})


def _with_words(clip: ClipSource, words: Sequence[Transcripts], subjects: NameIndex[str]) -> ClipSource:
    words = sorted(words, key=lambda place: (TEST_DATA in place.place.parts) != (clip.split == "test"))
    spoken = next((text for place in words if (text := place.find(clip.id))), None)
    subject = subjects.find(clip.id)
    return dataclasses.replace(
        clip,
        transcript=spoken.text if spoken else None,
        word_times=spoken.times if spoken else (),
        subject=subject[1] if subject else "",
        remarks=tuple(words_remarks(spoken)),
    )


def _has_names_alone(path: Path) -> bool:
    """Whether a table has no label columns."""
    return not {plain(label) for label in LABELS} & {plain(column) for column in read_table(path, ()).columns}


def _is_unlabelled(table: Table) -> bool:
    """Whether labels are missing or placeholders: all cells are empty or 0, or several rows share a single value."""
    cells = {row.cells[label] for row in table.rows for label in LABELS if label in row.cells}
    values = {float(cell) if NUMBER.fullmatch(cell) else cell for cell in cells}
    return len(values) <= (len(table.rows) > 1) or values <= {0.0, ""}


def _extra_columns(table: Table) -> Iterator[str]:
    known = {plain(name) for name in (*LABELS, *RESERVED)}
    if extra := [column for column in table.columns if plain(column) not in known]:
        yield f"{table.path.name}: columns that are not read: {', '.join(extra)}"


def _notes(source: Path, files: Sequence[ClipSource], clips: Sequence[ClipSource]) -> Iterator[str]:
    """Yields notes on irregularities of the corpus as a whole."""
    taken = {path for clip in clips for path in (clip.video, clip.audio, clip.faces)}
    if unnamed := sorted(clip.id for clip in files if not {clip.video, clip.audio, clip.faces} & (taken - {None})):
        yield f"{counted(len(unnamed), 'clip')} in {source} without a row in any table, {unnamed[0]} the first"
    if unlabelled := [clip.id for clip in clips if not clip.labels]:
        yield f"{counted(len(unlabelled), 'clip')} without labels: those of the split {clips[-1].split}"
    if own := [clip.id for clip in clips if clip.audio is None and clip.video is not None]:
        yield f"{counted(len(own), 'clip')} without a file in audio/, with the video's own sound, {own[0]} the first"
    if features := [name for name in ("vit", "wav2vec2") if (source / name).is_dir()]:
        yield f"{' and '.join(features)} are not read (--features reads converted ones); {PICKLED}"


def _word_notes(clips: Sequence[ClipSource], words: Sequence[Transcripts]) -> Iterator[str]:
    if not words:
        yield f"no transcripts: give them with --transcripts, or as {', '.join(WORDS)} in the corpus' folder"
        return
    places = " and ".join(str(place.place) for place in words)
    if wordless := sum(clip.transcript is None for clip in clips):
        yield f"{counted(wordless, 'clip')} without words in {places}"
    else:
        yield f"the words come from {places}"
    for place in words:
        yield from place.notes
        yield from place.unmatched()


def _full(name: str) -> str:
    """The id of a clip from any of its names: no ending, and numbers padded to five digits, as in the corpus."""
    stem = nfc(without_media_ending(name))
    return stem.zfill(5) if stem.isdigit() else stem
