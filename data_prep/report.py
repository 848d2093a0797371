"""What preparation did, for people and for machines: report.json, a summary and a sheet of sample faces."""

import collections
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_prep.clip import ClipSource
from data_prep.corpora import SPLITS, Corpus
from data_prep.errors import ClipError
from data_prep.staging import Staged

FILE = "report.json"
SHEET = "contact_sheet.png"
SHOWN = 5  # problems printed of each kind; the file holds them all


@dataclasses.dataclass(frozen=True)
class Report:
    """The outcome of a preparation.

    Attributes:
        corpus: its name.
        dataset: the folder of the finished dataset.
        fingerprint: hash of the content.
        clips: clips read, per split.
        left_out: {id, split, path, why} of each clip that could not be read.
        faces_found: share of the kept pictures in which a face was found.
        missing: number of clips without vision, audio, text.
        labels: per label its mean, standard deviation and share above zero.
        notes: remarks on the corpus and on single clips.
        seconds: how long it took.
    """

    corpus: str
    dataset: str
    fingerprint: str
    clips: dict[str, int]
    left_out: list[dict[str, str]]
    faces_found: float
    missing: dict[str, int]
    labels: dict[str, dict[str, float]]
    notes: list[str]
    seconds: float

    def save(self, out: Path) -> None:
        """Writes report.json into the folder."""
        (out / FILE).write_text(json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, out: Path) -> "Report":
        """Reads what `save` wrote."""
        return cls(**json.loads((out / FILE).read_text()))

    def summary(self) -> str:
        """A dozen lines to print."""
        read = ", ".join(f"{count} {split}" for split, count in self.clips.items())
        lines = [
            f"corpus {self.corpus}: {sum(self.clips.values())} clips read ({read}) in {self.seconds:.0f} s",
            f"faces found in {self.faces_found:.1%} of the pictures",
            "clips without " + ", ".join(f"{name}: {count}" for name, count in self.missing.items()),
            *(
                f"{name}: mean {row['mean']:.3f}, sd {row['sd']:.3f}, above zero {row['above_zero']:.0%}"
                for name, row in self.labels.items()
            ),
            f"clips left out: {len(self.left_out)}",
            *_some([f"  {entry['split']} {entry['id']}: {entry['path']}: {entry['why']}" for entry in self.left_out]),
            *_some([f"note: {note}" for note in self.notes]),
            f"dataset: {self.dataset} (fingerprint {self.fingerprint[:12]})",
        ]
        return "\n".join(lines)


def make_report(
    corpus: Corpus,
    staged: Sequence[tuple[ClipSource, Staged]],
    failed: Sequence[tuple[ClipSource, ClipError]],
    dataset: Path,
    fingerprint: str,
    seconds: float,
) -> Report:
    """Sums up the clips that were read and those that were not."""
    counts = collections.Counter(clip.split for clip, _ in staged)
    frames = sum(row.frames for _, row in staged)
    known = np.array([clip.labels for clip, _ in staged if clip.labels], np.float64).reshape(
        -1, len(corpus.label_names)
    )
    return Report(
        corpus=corpus.name,
        dataset=str(dataset),
        fingerprint=fingerprint,
        clips={split: counts[split] for split in SPLITS if counts[split]},
        left_out=[{"id": clip.id, "split": clip.split, "path": e.path, "why": e.why} for clip, e in failed],
        faces_found=sum(row.faces for _, row in staged) / max(frames, 1),
        missing={
            "vision": sum(row.faces == 0 for _, row in staged),
            "audio": sum(row.seconds == 0 for _, row in staged),
            "text": sum(not row.words for _, row in staged),
        },
        labels={name: stats for k, name in enumerate(corpus.label_names) if (stats := _statistics(known[:, k]))},
        notes=[*corpus.notes, *(f"{clip.split} {clip.id}: {note}" for clip, row in staged for note in row.notes)],
        seconds=round(seconds, 1),
    )


def write_contact_sheet(examples: Sequence[dict[str, Any]], path: Path, columns: int = 8) -> None:
    """Draws up to `columns` face crops of each example in a row; crops without a face are dimmed."""
    rows = []
    for example in examples:
        count = len(example["faces"])
        picks = np.unique(np.linspace(0, count - 1, min(columns, count)).round().astype(int))
        crops = [
            np.asarray(cv2.imdecode(np.frombuffer(example["faces"][n], np.uint8), cv2.IMREAD_COLOR)) for n in picks
        ]
        crops = [image if example["face_found"][n] else image // 3 for n, image in zip(picks, crops, strict=True)]
        if crops:
            rows.append(np.concatenate(crops + [np.zeros_like(crops[0])] * (columns - len(crops)), axis=1))
    if rows:
        cv2.imwrite(str(path), np.concatenate(rows, axis=0))


def _statistics(values: np.ndarray) -> dict[str, float]:
    values = values[~np.isnan(values)]
    if not len(values):
        return {}
    stats = {"mean": values.mean(), "sd": values.std(), "above_zero": (values > 0).mean()}
    return {name: round(float(value), 4) for name, value in stats.items()}


def _some(lines: list[str]) -> list[str]:
    more = [f"  and {len(lines) - SHOWN} more, see {FILE}"] if len(lines) > SHOWN else []
    return lines[:SHOWN] + more
