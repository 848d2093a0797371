"""MELD as its archive MELD.Raw unpacks: `train_sent_emo.csv`, `train_splits/dia0_utt0.mp4` and so on for dev and test.

Poria et al., "MELD: A Multimodal Multi-Party Dataset for Emotion Recognition in Conversations", ACL 2019. Utterances
from a television series, each with one of seven emotions.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.clips.clip import ClipSource
from data_prep.corpora import Corpus
from data_prep.corpora.endings import without_media_ending
from data_prep.corpora.media_files import some
from data_prep.corpora.published import NamedMedia, missing_note, named_media, read_rows, whole_number
from data_prep.corpora.tables import Row
from data_prep.errors import CorpusError
from emi_jax.report.terminal import counted

LABELS = ("Neutral", "Joy", "Surprise", "Anger", "Sadness", "Disgust", "Fear")
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")


class Part(NamedTuple):
    """One of the three parts of the corpus.

    Attributes:
        split: the split that it becomes.
        table: its table.
        folder: the folder of its clips.
        wrong: clips that hold minutes of an episode in place of their utterance.
    """

    split: str
    table: str
    folder: str
    wrong: tuple[str, ...]


PARTS = {
    "train": Part("train", "train_sent_emo.csv", "train_splits", ("dia309_utt0",)),
    "dev": Part("valid", "dev_sent_emo.csv", "dev_splits_complete", ()),
    "test": Part("test", "test_sent_emo.csv", "output_repeated_splits_test", ("dia38_utt4", "dia220_utt0")),
}
TABLE_FOLDERS = ("", "{part}", "data/MELD")
"""Where tables lie: next to the folders of clips, in the folder of their archive, or as in the corpus' repository."""
CLIP_FOLDERS = ("", "{part}")

NAME = re.compile(r"dia\d+_utt\d+")
WESTERN = {code: bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}
"""Apostrophes, dashes and dots of the training table are control characters: Windows-1252 that was read as Latin-1."""


def read_meld(source: Path) -> Corpus:
    """Finds the clips of MELD.

    The label of the utterance's emotion is 1, the others are 0. Names repeat in each part, so the id of a clip has
    the part's name in front: train_dia0_utt0. The parts are the authors'. They divide dialogues, not speakers.

    Raises:
        CorpusError: the folder holds no part of MELD, or a cell of a table is invalid.
    """
    clips: list[ClipSource] = []
    notes: list[str] = []
    for name, part in PARTS.items():
        table = _find(source, TABLE_FOLDERS, name, part.table)
        folder = _find(source, CLIP_FOLDERS, name, part.folder)
        if table is None or folder is None:
            notes.append(f"split {part.split} is empty: found no {part.folder if table else part.table} in {source}")
            continue
        media = named_media(folder, clip_name)
        rows, table_notes = read_rows(table, COLUMNS)
        named = _by_clip(rows)
        usable = {clip: path for clip, path in media.files.items() if clip not in part.wrong}
        clips += [_clip(name, part, clip, usable[clip], row) for clip, row in named.items() if clip in usable]
        notes += [*table_notes, *media.notes, *_notes(named, media, part)]
    if not clips:
        raise CorpusError(
            f"{source}: found no clip of MELD, expected train_sent_emo.csv and train_splits/dia0_utt0.mp4, and so on"
            + "".join(f"; {note}" for note in notes)
        )
    return Corpus("meld", LABELS, (0.0, 1.0), tuple(clips), notes=tuple(notes))


def clip_name(file: str) -> str:
    """The name of a file's clip, without its part; "" if it is none of MELD."""
    stem = without_media_ending(file)
    return stem if NAME.fullmatch(stem) else ""


def _find(source: Path, folders: Sequence[str], part: str, name: str) -> Path | None:
    paths = [source / folder.format(part=part) / name for folder in folders]
    return next((path for path in paths if path.exists()), None)


def _by_clip(rows: Sequence[Row]) -> dict[str, Row]:
    named: dict[str, Row] = {}
    for row in rows:
        name = f"dia{whole_number(row, 'Dialogue_ID')}_utt{whole_number(row, 'Utterance_ID')}"
        if (other := named.setdefault(name, row)) is not row:
            raise row.fault(
                "Utterance_ID", f"a number that is not used yet in this dialogue (line {other.line} has it)"
            )
    return named


def _clip(name: str, part: Part, clip: str, path: Path, row: Row) -> ClipSource:
    emotion = row.cells["Emotion"].capitalize()
    if emotion not in LABELS:
        raise row.fault("Emotion", f"one of {', '.join(LABELS).lower()}")
    return ClipSource(
        f"{name}_{clip}",
        video=path,
        transcript=row.cells["Utterance"].translate(WESTERN),
        labels=tuple(float(label == emotion) for label in LABELS),
        subject=row.cells["Speaker"].translate(WESTERN),
        split=part.split,
    )


def _notes(named: Mapping[str, Row], media: NamedMedia, part: Part) -> Iterator[str]:
    """Yields notes on clips that are left out, clips without a row, and mended characters."""
    yield from missing_note([clip for clip in named if clip not in media.files], len(named), part.table, part.folder)
    if wrong := [clip for clip in part.wrong if clip in media.files]:
        yield f"left out of {part.folder}, since they hold minutes of an episode: {', '.join(wrong)}"
    if unlabelled := sorted(set(media.files) - set(named)):
        lost = counted(len(unlabelled), "clip")
        yield f"{lost} in {part.folder} without a row in {part.table}, not read: {some(unlabelled)}"
    texts = [row.cells["Utterance"] for row in named.values()]
    if mended := sum(text != text.translate(WESTERN) for text in texts):
        yield f"{part.table}: control characters in {mended} utterances are read as Windows-1252"
