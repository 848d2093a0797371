"""The report of a preparation: report.json for programs and a printed summary; `report_page` renders it as a page."""

import collections
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.build.staging import Staged
from data_prep.clips.clip import ClipSource
from data_prep.corpora import SPLITS, Corpus
from data_prep.errors import ClipError
from data_prep.features.source import Schema
from data_prep.media.remarks import CENTRED, NO_FACE
from emi_jax.files import write_json
from emi_jax.modalities import MODALITIES
from emi_jax.report import tables
from emi_jax.report.tables import Row, Table
from emi_jax.report.terminal import counted, printable

FILE, PAGE = "report.json", "report.html"
SHOWN = 5  # lines printed for each kind of problem; the file lists them all
BINS = 20


@dataclasses.dataclass(frozen=True)
class Report:
    """The outcome of a preparation.

    Attributes:
        corpus: the corpus' name.
        dataset: the folder of the finished dataset.
        fingerprint: hash of the content.
        clips: clips read, per split.
        left_out: {id, split, path, why} of each clip that could not be read.
        faces_found: share of the kept pictures in which a face was found.
        missing: number of clips without vision, audio, text.
        features: by modality with the user's own features, their source, number of columns, number of clips with valid
            rows, number of rows and share of valid rows.
        no_face: number of clips with pictures but no face in any, whether their vision is absent or the pictures'
            centre is used.
        label_range: lowest and highest label in the users' units, which all values below use.
        labels: per label its mean, standard deviation, share above the lowest value and number of clips with a value.
        histograms: per label the counts in BINS equal bins and their edges.
        lengths: the same for the clips' lengths in seconds.
        remarks: kind of irregularity -> {id, split, detail} of each clip that was read despite it.
        notes: remarks on the corpus as a whole.
        seconds: how long the preparation took.
        is_new: whether this call wrote the dataset; False if it was already complete. Not saved.
    """

    corpus: str
    dataset: str
    fingerprint: str
    clips: dict[str, int]
    left_out: list[dict[str, str]]
    faces_found: float
    missing: dict[str, int]
    features: dict[str, dict[str, Any]]
    no_face: int
    label_range: list[float]
    labels: dict[str, dict[str, float]]
    histograms: dict[str, dict[str, list[float]]]
    lengths: dict[str, list[float]]
    remarks: dict[str, list[dict[str, str]]]
    notes: list[str]
    seconds: float
    is_new: bool = dataclasses.field(default=True, compare=False)

    def save(self, out: Path) -> None:
        """Writes report.json into the folder."""
        fields = {name: value for name, value in dataclasses.asdict(self).items() if name != "is_new"}
        write_json(out / FILE, fields)

    @classmethod
    def load(cls, out: Path) -> "Report | None":
        """Reads what `save` wrote; None if the file is missing or incomplete."""
        try:
            return cls(**json.loads((out / FILE).read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def summary(self) -> str:
        """A summary of about a dozen lines, for printing."""
        read = ", ".join(f"{count} {split}" for split, count in self.clips.items())
        lines = [
            *([] if self.is_new else ["already prepared from the same files with the same options: nothing to do"]),
            f"corpus {self.corpus}: {sum(self.clips.values())} clips read ({read}) in {self.seconds:.0f} s",
            *([] if "vision" in self.features else [f"faces found in {self.faces_found:.1%} of the pictures"]),
            "clips without " + ", ".join(f"{name}: {count}" for name, count in self.missing.items()),
            *(f"{name}: {text}" for name, text in self.feature_lines()),
            *(tables.plain(self.label_table().header, self.label_table().rows).splitlines() if self.labels else ()),
            f"clips left out: {len(self.left_out)}",
            *_some([f"  {entry['split']} {entry['id']}: {_fault(entry)}" for entry in self.left_out]),
            *(f"{kind}: {counted(len(clips), 'clip')}, {_first(clips)}" for kind, clips in self.remarks.items()),
            *(f"note: {note}" for note in self.notes),
            f"dataset: {self.dataset} (fingerprint {self.fingerprint[:12]})",
            f"report: {Path(self.dataset).parents[1] / PAGE}",
        ]
        return "\n".join(map(printable, lines))

    def feature_lines(self) -> list[tuple[str, str]]:
        """For each modality with the user's own features, a title and a summary of them."""
        return [
            (
                f"{modality} features",
                f"{own['columns']} columns ({own['source']}), {own['clips']} clips, {own['rows']} rows, "
                f"{own['valid']:.1%} of them valid",
            )
            for modality, own in self.features.items()
        ]

    def label_table(self) -> Table:
        """A table with one row per label."""
        low, high = self.label_range
        rows: list[Row] = [
            [name, row["mean"], row["sd"], f"{row['above_lowest']:.0%}", int(row["known"])]
            for name, row in self.labels.items()
        ]
        return Table(f"Labels from {low:g} to {high:g}", ["", "mean", "sd", f"above {low:g}", "clips"], rows)


def make_report(
    corpus: Corpus,
    staged: Sequence[tuple[ClipSource, Staged]],
    failed: Sequence[tuple[ClipSource, ClipError]],
    dataset: Path,
    fingerprint: str,
    seconds: float,
) -> Report:
    """Summarises the clips that were read and those that could not be read."""
    counts = collections.Counter(clip.split for clip, _ in staged)
    frames = sum(row.frames for _, row in staged)
    known = np.array([clip.labels for clip, _ in staged if clip.labels], np.float64).reshape(
        -1, len(corpus.label_names)
    )
    remarks: dict[str, list[dict[str, str]]] = {}
    for clip, row in staged:
        for kind, detail in row.remarks:
            remarks.setdefault(kind, []).append({"id": clip.id, "split": clip.split, "detail": printable(detail)})
    low, high = corpus.label_range
    columns = {name: known[:, k][~np.isnan(known[:, k])] for k, name in enumerate(corpus.label_names)}
    columns = {name: low + (high - low) * values for name, values in columns.items() if len(values)}
    return Report(
        corpus=corpus.name,
        dataset=str(dataset),
        fingerprint=fingerprint,
        clips={split: counts[split] for split in SPLITS if counts[split]},
        left_out=[{"id": clip.id, "split": clip.split, "path": e.path, "why": e.why} for clip, e in failed],
        faces_found=sum(row.faces for _, row in staged) / max(frames, 1),
        missing={modality: sum(not row.has(modality) for _, row in staged) for modality in MODALITIES},
        features={modality: _feature_counts(schema, staged, modality) for modality, schema in corpus.features.items()},
        no_face=sum(len(remarks.get(kind, ())) for kind in (NO_FACE, CENTRED)),
        label_range=list(corpus.label_range),
        labels={name: _statistics(values, low) for name, values in columns.items()},
        histograms={name: _histogram(values, corpus.label_range) for name, values in columns.items()},
        lengths=_histogram([row.length for _, row in staged], None),
        remarks=dict(sorted(remarks.items())),
        notes=[*map(printable, corpus.notes), *_constant_labels(corpus, staged)],
        seconds=round(seconds, 1),
    )


def _feature_counts(
    schema: Schema, staged: Sequence[tuple[ClipSource, Staged]], modality: str
) -> dict[str, str | int | float]:
    counts = np.array([row.features[modality] for _, row in staged]).reshape(-1, 2)
    valid, rows = counts.sum(axis=0).tolist()
    return {
        "source": schema.source,
        "columns": len(schema.names),
        "clips": int((counts[:, 0] > 0).sum()),
        "rows": rows,
        "valid": round(valid / max(rows, 1), 4),
    }


def _constant_labels(corpus: Corpus, staged: Sequence[tuple[ClipSource, Staged]]) -> Iterator[str]:
    """Notes on labels that cannot be scored: a correlation needs at least two different values."""
    for split in SPLITS:
        rows = [clip.labels for clip, _ in staged if clip.split == split and clip.labels]
        columns = zip(corpus.label_names, np.array(rows).T, strict=False)
        constant = [name for name, values in columns if len(set(values[~np.isnan(values)])) == 1]
        if constant and len(rows) > 1:
            yield f"split {split}: one value in all clips, not scored there: {', '.join(constant)}"


def _statistics(values: np.ndarray, low: float) -> dict[str, float]:
    stats = {"mean": values.mean(), "sd": values.std(), "above_lowest": (values > low).mean(), "known": len(values)}
    return {name: round(float(value), 4) for name, value in stats.items()}


def _histogram(values: Iterable[float], span: tuple[float, float] | None) -> dict[str, list[float]]:
    counts, edges = np.histogram(np.fromiter(values, np.float64), BINS, span)
    return {"counts": counts.tolist(), "edges": edges.round(4).tolist()}


def _fault(entry: Mapping[str, str]) -> str:
    """Why a clip was left out, after the file to blame if it is a file."""
    return entry["why"] if entry["path"] == entry["id"] else f"{entry['path']}: {entry['why']}"


def _first(clips: Sequence[dict[str, str]]) -> str:
    detail = f" ({clips[0]['detail']})" if clips[0]["detail"] else ""
    return f"{clips[0]['split']} {clips[0]['id']}{detail} the first"


def _some(lines: list[str]) -> list[str]:
    more = [f"  and {len(lines) - SHOWN} more, see {FILE}"] if len(lines) > SHOWN else []
    return lines[:SHOWN] + more
