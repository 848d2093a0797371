"""The corpora that can be prepared. Each module finds the clips of one layout and reads its tables."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from data_prep.clips.clip import ClipSource

SPLITS = ("train", "valid", "test")
MEDIA_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wav", ".mp3", ".flac", ".m4a", ".ogg")


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The clips of a corpus and what holds for all of them.

    Attributes:
        name: synthetic, vidmimic2 or folder.
        label_names: the K labels, in order.
        label_range: lowest and highest label in the users' units; clips carry labels scaled to [0, 1].
        clips: all clips that the tables name, and those of unlabelled splits.
        ceiling: split -> label -> the Pearson correlation that no model can pass; known for made data only.
        notes: remarks for the report.
    """

    name: str
    label_names: tuple[str, ...]
    label_range: tuple[float, float]
    clips: tuple[ClipSource, ...]
    ceiling: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_media(folder: Path) -> dict[str, Path]:
    """Media files of a folder by name without ending; of several, the one whose ending is first in MEDIA_SUFFIXES."""
    found: dict[str, Path] = {}
    if not folder.is_dir():
        return found
    rank = {suffix: position for position, suffix in enumerate(MEDIA_SUFFIXES)}
    files = [path for path in folder.iterdir() if path.suffix.lower() in rank and not path.name.startswith(".")]
    for path in sorted(files, key=lambda path: (path.stem, rank[path.suffix.lower()])):
        found.setdefault(path.stem, path)
    return found
