"""The synthetic corpus: written to disk once, in Vidmimic2's layout, then read like Vidmimic2."""

import csv
import dataclasses
import functools
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_prep.corpora import SPLITS, Corpus
from data_prep.corpora.vidmimic2 import TABLES, read_vidmimic2
from data_prep.errors import CorpusError
from data_prep.synthetic.latents import EMOTIONS, ceiling
from data_prep.synthetic.plan import ClipPlan, plan_corpus
from data_prep.synthetic.video import write_clip
from data_prep.workers import map_clips
from emi_jax.files import whole_file, write_json

VERSION = 3  # increment when a seed produces different content
COUNTS = {"train": 3000, "valid": 120, "test": 240}
SEED = 2025
MARK, TRUTH = "corpus.json", "truth.csv"


def read_synthetic(source: Path) -> Corpus:
    """Finds the clips of a written corpus, with the ceiling of each split.

    Raises:
        CorpusError: the folder does not hold a complete synthetic corpus.
    """
    if not (source / MARK).is_file() or not (source / TRUTH).is_file():
        raise CorpusError(f"{source}: found no synthetic corpus; python -m data_prep --source={source} writes it")
    corpus = read_vidmimic2(source, source / "transcripts.csv")
    with (source / TRUTH).open(newline="", encoding="utf-8") as file:
        expected = {
            row["Filename"]: [float(row[f"Expected {name}"]) for name in EMOTIONS] for row in csv.DictReader(file)
        }
    ceilings = {}
    for split in SPLITS:
        clips = [clip for clip in corpus.clips if clip.split == split]
        if len(clips) > 2:
            ceilings[split] = ceiling(
                np.array([expected[clip.id] for clip in clips]), np.array([clip.labels for clip in clips])
            )
    return dataclasses.replace(corpus, name="synthetic", ceiling=ceilings)


def write_synthetic(
    source: Path,
    counts: Mapping[str, int] = COUNTS,
    seed: int = SEED,
    processes: int = 1,
    progress: Callable[[Iterable, int, str], Iterable] | None = None,
) -> None:
    """Writes the corpus, or the missing part of it; does nothing if it is complete.

    Args:
        source: the folder to write to.
        counts: clips per split.
        seed: the same seed and counts give the same content.
        processes: worker processes.
        progress: called with an iterable of clips, their number and a title; wraps it to show progress.

    Raises:
        CorpusError: the folder holds another corpus.
    """
    counts = {split: counts.get(split, 0) for split in SPLITS}
    mark = {"corpus": "synthetic", "version": VERSION, "seed": seed, "counts": counts}
    found = _read_mark(source)
    if found not in ({}, mark):
        raise CorpusError(
            f"{source / MARK}: found the corpus {found}, expected {mark}; delete {source} or name another folder"
        )
    plans = plan_corpus(counts, seed)
    (source / "raw").mkdir(parents=True, exist_ok=True)
    if not found:
        write_json(source / MARK, mark)
    todo = [plan for plan in plans if not (source / "raw" / f"{plan.id}.mp4").exists()]
    if todo:
        results = map_clips(functools.partial(write_clip, folder=source / "raw"), todo, processes)
        for _, outcome in progress(results, len(todo), "writing the synthetic corpus") if progress else results:
            if isinstance(outcome, Exception):
                raise outcome
    _write_tables(source, plans)


def _read_mark(source: Path) -> dict:
    if (source / MARK).is_file():
        try:
            return json.loads((source / MARK).read_text())
        except ValueError as error:
            raise CorpusError(f"{source / MARK}: found broken JSON ({error}); delete {source}") from None
    if source.is_dir() and any(source.iterdir()):
        raise CorpusError(f"{source}: found files that are not a synthetic corpus, expected an empty or missing folder")
    return {}


def _write_tables(source: Path, plans: Sequence[ClipPlan]) -> None:
    for split, name in TABLES.items():
        rows = [[plan.id, *plan.labels] for plan in plans if plan.split == split]
        _write_csv(source / name, ["Filename", *EMOTIONS], rows)
    spoken = [[plan.id, "" if plan.defects.missing == "words" else plan.text] for plan in plans]
    _write_csv(source / "transcripts.csv", ["Filename", "Transcript"], spoken)
    _write_csv(
        source / "subjects.csv", ["Filename", "Subject"], [[plan.id, f"speaker{plan.speaker:02d}"] for plan in plans]
    )
    defects = [
        [
            d.missing,
            d.occluder,
            *((round(t, 3) for t in d.occluded) if d.occluder else ("", "")),
            "" if np.isinf(d.snr_db) else d.snr_db,
        ]
        for d in (plan.defects for plan in plans)
    ]
    _write_csv(
        source / TRUTH,
        [
            "Filename",
            *(f"Expected {name}" for name in EMOTIONS),
            "Missing",
            "Occluder",
            "Occluded from",
            "Occluded to",
            "SNR dB",
        ],
        [[plan.id, *plan.expected, *defect] for plan, defect in zip(plans, defects, strict=True)],
    )


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    with whole_file(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8", newline="")
