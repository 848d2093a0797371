"""The one entry: a corpus on disk becomes the TFDS dataset `emi`, in parallel and in steps that can be stopped.

First each clip is read into a staging folder by worker processes, then all are written as ArrayRecord files in one
go. A call that was stopped is repeated: finished clips are kept. A call whose dataset is there already does nothing.
"""

import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_prep.clip import ClipOptions, ClipSource
from data_prep.corpora import SPLITS, Corpus
from data_prep.corpora.folder import read_folder
from data_prep.corpora.synthetic import COUNTS, SEED, read_synthetic, write_synthetic
from data_prep.corpora.vidmimic2 import read_vidmimic2
from data_prep.errors import ClipError, CorpusError
from data_prep.report import SHEET, Report, make_report, write_contact_sheet
from data_prep.staging import Staged, load_staged, signature, stage_clip, staged_path
from data_prep.workers import map_clips

CORPORA = ("synthetic", "vidmimic2", "folder")
DEMO_OPTIONS = ClipOptions(max_frames=16, face_size=64, margin=0.0)  # of the synthetic corpus, for small encoders


def prepare(
    corpus: str,
    out: str | Path,
    *,
    source: str | Path | None = None,
    labels: str | Path | None = None,
    label_range: tuple[float, float] = (0.0, 1.0),
    transcripts: str | Path | None = None,
    counts: Mapping[str, int] = COUNTS,
    seed: int = SEED,
    options: ClipOptions | None = None,
    processes: int | None = None,
    progress: bool = True,
) -> Report:
    """Prepares a corpus.

    Args:
        corpus: synthetic, vidmimic2 or folder.
        out: the data folder; the dataset comes to lie in `out/emi/1.0.0`, with report.json and contact_sheet.png in
            `out`.
        source: folder of the raw corpus; the synthetic one is written there first, by default to `out/raw_corpus`.
        labels: the CSV of a `folder` corpus; `labels.csv` in the source by default.
        label_range: lowest and highest label of a `folder` corpus.
        transcripts: CSV or JSON with the clips' words.
        counts: clips per split of the synthetic corpus.
        seed: of the synthetic corpus' content.
        options: how clips are read; None takes the corpus' own.
        processes: worker processes; None takes one per CPU.
        progress: whether to show progress bars.

    Returns:
        What was done, as saved in `out/report.json`.

    Raises:
        CorpusError: the corpus cannot be used as it is.
    """
    started = time.monotonic()
    out = Path(out)
    processes = processes or len(os.sched_getaffinity(0))
    options = options or (DEMO_OPTIONS if corpus == "synthetic" else ClipOptions())
    bar = functools.partial(_bar, shown=progress)
    words = Path(transcripts) if transcripts else None
    if corpus == "synthetic":
        folder = Path(source) if source else out / "raw_corpus"
        write_synthetic(folder, counts, seed, processes, bar)
        found = read_synthetic(folder, words)
    elif corpus not in CORPORA:
        raise CorpusError(f"corpus: found {corpus!r}, expected one of {', '.join(CORPORA)}")
    elif source is None:
        raise CorpusError(f"corpus {corpus}: found no source, expected --source=DIR with its clips")
    elif corpus == "vidmimic2":
        found = read_vidmimic2(Path(source), words)
    else:
        found = read_folder(Path(source), Path(labels) if labels else None, label_range, words)
    return _build(found, out, options, processes, bar, started)


def _build(corpus: Corpus, out: Path, options: ClipOptions, processes: int, bar: Any, started: float) -> Report:
    # Imported here: worker processes import this module and need no TFDS.
    from data_prep.dataset import dataset_path, write_dataset

    recipe = _recipe(corpus, options)
    if _finished_recipe(dataset_path(out)) == recipe:
        return Report.load(out)
    staging = out / "staging"
    staging.mkdir(parents=True, exist_ok=True)

    staged: list[tuple[ClipSource, Staged]] = []
    failed: list[tuple[ClipSource, ClipError]] = []
    work = functools.partial(stage_clip, folder=staging, options=options)
    for clip, outcome in bar(map_clips(work, corpus.clips, processes), len(corpus.clips), "reading clips"):
        if isinstance(outcome, ClipError):
            failed.append((clip, outcome))
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            staged.append((clip, outcome))
    staged.sort(key=lambda pair: (SPLITS.index(pair[0].split), pair[0].id))
    failed.sort(key=lambda pair: (SPLITS.index(pair[0].split), pair[0].id))
    if not staged:
        first = f"; the first: {failed[0][1]}" if failed else ""
        raise CorpusError(f"corpus {corpus.name}: found no clip that can be read, expected at least one{first}")

    fingerprint = _fingerprint(corpus, staged)
    metadata = {
        "corpus": corpus.name,
        "label_names": list(corpus.label_names),
        "label_range": list(corpus.label_range),
        "face_size": options.face_size,
        "fingerprint": fingerprint,
        "ceiling": {split: dict(row) for split, row in corpus.ceiling.items()},
        "recipe": recipe,
    }

    def examples(split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for clip, _ in staged:
            if clip.split == split:
                yield clip.id, load_staged(staged_path(clip, staging, options), len(corpus.label_names))

    splits = {split: functools.partial(examples, split) for split in SPLITS if any(c.split == split for c, _ in staged)}
    sample = [load_staged(staged_path(clip, staging, options), 0) for clip, _ in staged[:: max(1, len(staged) // 12)]]
    write_contact_sheet(sample, out / SHEET)
    seconds = time.monotonic() - started
    make_report(corpus, staged, failed, dataset_path(out), fingerprint, seconds).save(out)
    write_dataset(out, splits, metadata)
    shutil.rmtree(staging)
    return Report.load(out)


def _recipe(corpus: Corpus, options: ClipOptions) -> str:
    """A hash of all that the dataset is made from, known before any clip is read."""
    told = [corpus.name, corpus.label_names, corpus.label_range, [signature(clip, options) for clip in corpus.clips]]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _finished_recipe(dataset: Path) -> str | None:
    path = dataset / "metadata.json"
    return json.loads(path.read_text()).get("recipe") if path.is_file() else None


def _fingerprint(corpus: Corpus, staged: Sequence[tuple[ClipSource, Staged]]) -> str:
    content = [corpus.label_names, corpus.label_range, [(clip.split, clip.id, row.digest) for clip, row in staged]]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _bar(results: Iterable, total: int, title: str, *, shown: bool) -> Iterable:
    return tqdm(results, total=total, desc=title, unit="clip", disable=not shown)
