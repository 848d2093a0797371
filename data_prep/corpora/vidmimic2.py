"""Hume-Vidmimic2: `raw/`, `audio/`, `face_images/`, one CSV of labels per split, and `test_data/` without labels.

Folders are joined to the tables by clip name, never by row. Feature files (`vit/`, `wav2vec2/`) are pickles and are
never opened.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.clips.clip import ClipSource
from data_prep.corpora import Corpus, find_media
from data_prep.corpora.tables import read_table
from data_prep.corpora.transcripts import plain_name, read_transcripts
from data_prep.errors import CorpusError

LABELS = ("Admiration", "Amusement", "Determination", "Empathic Pain", "Excitement", "Joy")
TABLES = {"train": "train_split.csv", "valid": "valid_split.csv", "test": "test_split.csv"}


def read_vidmimic2(source: Path, transcripts: Path | None) -> Corpus:
    """Finds the clips of a folder in Vidmimic2's layout.

    Args:
        source: the folder that holds `raw/` and `train_split.csv`.
        transcripts: CSV or JSON; `transcripts.csv` of the folder where not given. `subjects.csv` is read where it is
            there.

    Raises:
        CorpusError: a folder or table is missing or at fault.
    """
    if not (source / "raw").is_dir() and not (source / "face_images").is_dir():
        raise CorpusError(f"{source}: found neither raw/ nor face_images/, expected the folders of Hume-Vidmimic2")
    if transcripts is None and (source / "transcripts.csv").is_file():
        transcripts = source / "transcripts.csv"
    notes = (
        [] if transcripts else ["no transcripts: give them with --transcripts=FILE.csv, or all clips are without words"]
    )
    texts = {_full(name): text for name, text in read_transcripts(transcripts).items()} if transcripts else {}
    subjects = _subjects(source / "subjects.csv")

    clips: list[ClipSource] = []
    files = _Files(source)
    for split, table in TABLES.items():
        if split == "test" and not (source / table).is_file():
            continue
        for row in read_table(source / table, LABELS).rows:
            labels = tuple(row.number(label, 0.0, 1.0) for label in LABELS)
            clips.append(files.clip(plain_name(row.name), split, labels, texts, subjects))
    if not any(clip.split == "test" for clip in clips):
        unlabelled = _Files(source / "test_data")
        clips += [unlabelled.clip(name, "test", (), texts, subjects) for name in sorted(unlabelled.names())]
    notes += _notes(source, files, clips)
    if texts and (wordless := sum(clip.id not in texts for clip in clips)):
        notes.append(f"{wordless} clips are not in {transcripts}")
    return Corpus("vidmimic2", LABELS, (0.0, 1.0), tuple(clips), notes=tuple(notes))


def _notes(source: Path, files: "_Files", clips: Sequence[ClipSource]) -> Iterator[str]:
    """What is odd about the delivery as a whole."""
    if unnamed := sorted(files.names() - {clip.id for clip in clips}):
        yield f"{len(unnamed)} clips in {source} are in no table, {unnamed[0]} the first"
    if unlabelled := [clip.id for clip in clips if not clip.labels]:
        yield f"{len(unlabelled)} clips have no labels: those of the split {clips[-1].split}"
    if own := [clip.id for clip in clips if clip.audio is None and clip.video is not None]:
        yield f"{len(own)} clips have no file in audio/: their sound is the video's own track, {own[0]} the first"
    if features := [name for name in ("vit", "wav2vec2") if (source / name).is_dir()]:
        yield f"feature files are not opened, they may run code: {', '.join(features)}"


class _Files:
    """The files of one root folder, by clip name."""

    def __init__(self, root: Path):
        self._root = root
        self._video, self._audio = find_media(root / "raw"), find_media(root / "audio")
        images = root / "face_images"
        self._faces = {path.name: path for path in images.iterdir() if path.is_dir()} if images.is_dir() else {}

    def names(self) -> set[str]:
        return self._video.keys() | self._audio.keys() | self._faces.keys()

    def clip(
        self, name: str, split: str, labels: tuple[float, ...], texts: dict[str, str], subjects: dict[str, str]
    ) -> ClipSource:
        name = _full(name)
        there = name in self.names()
        return ClipSource(
            id=name,
            video=self._video.get(name) if there else self._root / "raw" / f"{name}.mp4",
            audio=self._audio.get(name),
            faces=self._faces.get(name),
            transcript=texts.get(name),
            labels=labels,
            subject=subjects.get(name, ""),
            split=split,
        )


def _full(name: str) -> str:
    """A clip's name with the leading zeros that spreadsheets drop."""
    return name.zfill(5) if name.isdigit() else name


def _subjects(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    return {_full(plain_name(row.name)): row.cells["Subject"] for row in read_table(path, ["Subject"]).rows}
