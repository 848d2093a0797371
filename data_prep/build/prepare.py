"""The entry point: turns a corpus on disk into the TFDS dataset `emi`, in parallel, and can be interrupted.

Worker processes first read each clip into a staging folder; then all clips are written as ArrayRecord files in one
pass. To resume an interrupted call, repeat it: finished clips are kept. If the dataset is complete, the call does
nothing.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from joblib import cpu_count

from data_prep.build.report import Report, make_report
from data_prep.build.room import check_room, need_room
from data_prep.build.staging import ENDING, Staged, fingerprint, load_staged, signature, stage_clip, staged_path
from data_prep.clips.clip import ClipSource, has_pictures
from data_prep.clips.detectors import HAAR
from data_prep.clips.options import ONLY, ClipOptions
from data_prep.clips.speech import check_recogniser
from data_prep.corpora import SPLITS, Corpus
from data_prep.corpora.feature_files import FeatureRequest
from data_prep.corpora.reading import Request, read_corpus
from data_prep.corpora.synthetic import COUNTS, SEED
from data_prep.errors import ClipError, CorpusError
from data_prep.workers import TIME_LIMIT, map_clips
from emi_jax.files import lock
from emi_jax.modalities import MODALITIES
from emi_jax.progress import progress_bar

DEMO_OPTIONS = ClipOptions(max_frames=8, face_size=64, margin=0.0, face=ONLY, detector=HAAR)
"""For the synthetic corpus and small encoders: drawn faces are upright and alone, and the demo needs no file of a
detector."""
SAMPLES = 24  # clips on the report's contact sheet

Work = Callable[[ClipSource], Staged]
Outcomes = Iterable[tuple[ClipSource, Staged | Exception]]


def default_options(corpus: str) -> ClipOptions:
    """The default clip options of a corpus."""
    return DEMO_OPTIONS if corpus == "synthetic" else ClipOptions()


def prepare(
    corpus: str,
    out: str | Path,
    *,
    source: str | Path | None = None,
    labels: str | Path | None = None,
    label_range: tuple[float, float] = (0.0, 1.0),
    label_columns: Sequence[str] = (),
    recursive: bool = False,
    transcripts: str | Path | None = None,
    features: Mapping[str, FeatureRequest] | None = None,
    counts: Mapping[str, int] = COUNTS,
    seed: int = SEED,
    ratings: str = "audiovisual",
    vocal: str = "both",
    options: ClipOptions | None = None,
    processes: int | None = None,
    time_limit: float | None = TIME_LIMIT,
    progress: bool = True,
) -> Report:
    """Prepares a corpus.

    Args:
        corpus: one of `data_prep.corpora.reading.CORPORA`.
        out: the data folder; the dataset is written to `out/emi/1.3.0`, report.json and report.html to `out`.
        source: folder of the raw corpus; the synthetic corpus is first written there, by default to `out/raw_corpus`.
        labels: the table of a `folder` corpus; `labels.csv` in the source by default.
        label_range: lowest and highest label of a `folder` corpus.
        label_columns: the columns of a `folder` corpus that are labels; by default all but the reserved ones.
        recursive: whether a `folder` corpus has clips in subfolders.
        transcripts: a table, JSON file or folder with the clips' words.
        features: by modality, where the user's own features are.
        counts: clips per split of the synthetic corpus.
        seed: random seed of the synthetic corpus' content.
        ratings: the condition of CREMA-D whose ratings are the labels: audiovisual, voice or face.
        vocal: what is read of RAVDESS: speech, song or both.
        options: how clips are read; None for the corpus' default.
        processes: worker processes; None for one per CPU.
        time_limit: seconds after which a clip is left out; None for no limit.
        progress: whether to show progress bars.

    Returns:
        The report, as saved in `out/report.json`.

    Raises:
        CorpusError: the corpus is unusable in its present form, or another process is writing to `out`.
    """
    options = options or default_options(corpus)
    folder, table, words = (Path(path).expanduser() if path else None for path in (source, labels, transcripts))
    columns = tuple(label_columns)
    request = Request(
        corpus, folder, table, label_range, columns, recursive, words, counts, seed, ratings, vocal, features or {}
    )
    return prepare_here(request, Path(out).expanduser(), options, processes, time_limit, progress)


def prepare_here(
    request: Request,
    out: Path,
    options: ClipOptions,
    processes: int | None = None,
    time_limit: float | None = TIME_LIMIT,
    progress: bool = True,
) -> Report:
    """Prepares a corpus with the processes of this machine; for arguments and errors see `prepare`."""
    processes = processes or cpu_count()
    bar = functools.partial(_bar, shown=progress)

    def run(work: Work, clips: Sequence[ClipSource]) -> Outcomes:
        return bar(map_clips(work, clips, processes, time_limit), len(clips), "reading clips")

    return build(request, out, options, run, processes, bar)


def build(
    request: Request,
    out: Path,
    options: ClipOptions,
    run: Callable[[Work, Sequence[ClipSource]], Outcomes],
    processes: int = 1,
    bar: Any = None,
) -> Report:
    """Prepares a corpus with the given way of running the per-clip function.

    Args:
        request: the corpus.
        out: the data folder.
        options: how clips are read.
        run: calls a function on every clip, in any process and any order, and yields (clip, result or error).
        processes: number of processes that write the synthetic corpus.
        bar: called with an iterable of clips or results, their number and a title; wraps it to show progress.

    Raises:
        CorpusError: as `prepare`.
    """
    # Imported here: worker processes import this module and need neither TFDS nor matplotlib.
    from data_prep.build.dataset import clear_leftovers, dataset_path, write_dataset
    from data_prep.build.report_page import write_page

    started = time.monotonic()
    if request.corpus == "synthetic" and request.source is None:
        request = dataclasses.replace(request, source=out / "raw_corpus")
    if options.asr:
        check_recogniser(options.asr, options.asr_language)
    out.mkdir(parents=True, exist_ok=True)
    with lock(out):
        corpus = read_corpus(request, processes, bar)
        if any(has_pictures(clip) for clip in corpus.clips):
            options = options.checked()
        recipe = _recipe(corpus, options)
        staging = out / "staging"
        clear_leftovers(out)
        if _finished_recipe(dataset_path(out)) == recipe and (report := Report.load(out)):
            shutil.rmtree(staging, ignore_errors=True)  # an earlier call was interrupted just before this last step
            return dataclasses.replace(report, is_new=False)
        staging.mkdir(exist_ok=True)
        check_room(out, corpus.clips, options)

        work = functools.partial(stage_clip, folder=staging, options=options, asr_cache=out / "asr")
        staged, failed = _sort(run(work, corpus.clips))
        if not staged:
            first = f"; the first: {failed[0][1]}" if failed else ""
            raise CorpusError(f"corpus {corpus.name}: found no clip that can be read, expected at least one{first}")

        content = fingerprint(
            corpus.label_names, corpus.label_range, [(clip.split, clip.id, row.digest) for clip, row in staged]
        )
        metadata = {
            "corpus": corpus.name,
            "label_names": list(corpus.label_names),
            "label_range": list(corpus.label_range),
            "clip_options": options.stored(),
            "fingerprint": content,
            "available": _available(staged),
            "ceiling": {split: dict(row) for split, row in corpus.ceiling.items()},
            "recipe": recipe,
        }
        if corpus.features:
            metadata["features"] = {modality: schema.metadata() for modality, schema in corpus.features.items()}

        def examples(split: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
            clips = [clip for clip, _ in staged if clip.split == split]
            for clip in bar(clips, len(clips), f"writing {split}") if bar else clips:
                yield clip.id, load_staged(staged_path(clip, staging, options), len(corpus.label_names))

        splits = {
            split: functools.partial(examples, split) for split in SPLITS if any(c.split == split for c, _ in staged)
        }
        seconds = time.monotonic() - started
        report = make_report(corpus, staged, failed, dataset_path(out), content, seconds)
        seen = [clip for clip, row in staged if row.frames]
        shown = seen[:: math.ceil(len(seen) / SAMPLES) or 1]
        write_page(report, (load_staged(staged_path(clip, staging, options), 0) for clip in shown), out)
        report.save(out)
        need_room(out, sum(path.stat().st_size for path in staging.glob(f"*{ENDING}")), "the dataset's files")
        write_dataset(out, splits, metadata)
        shutil.rmtree(staging)
        return report


def _sort(
    outcomes: Outcomes,
) -> tuple[list[tuple[ClipSource, Staged]], list[tuple[ClipSource, ClipError]]]:
    """The clips that were read and those that failed, in an order that does not depend on when they finished."""
    staged: list[tuple[ClipSource, Staged]] = []
    failed: list[tuple[ClipSource, ClipError]] = []
    for clip, outcome in outcomes:
        if isinstance(outcome, ClipError):
            failed.append((clip, outcome))
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            staged.append((clip, outcome))
    staged.sort(key=lambda pair: (SPLITS.index(pair[0].split), pair[0].id))
    failed.sort(key=lambda pair: (SPLITS.index(pair[0].split), pair[0].id))
    return staged, failed


def _available(staged: Sequence[tuple[ClipSource, Staged]]) -> dict[str, dict[str, int]]:
    """Per split, the number of clips that have vision, audio, text and labels."""
    counts: dict[str, collections.Counter[str]] = {}
    for clip, row in staged:
        has = {
            **{modality: int(row.has(modality)) for modality in MODALITIES},
            "labels": int(any(math.isfinite(label) for label in clip.labels)),
        }
        counts.setdefault(clip.split, collections.Counter()).update(has)
    return {split: dict(count) for split, count in counts.items()}


def _recipe(corpus: Corpus, options: ClipOptions) -> str:
    """A hash of everything that the dataset is made from, known before any clip is read."""
    signatures = [signature(clip, options) for clip in corpus.clips]
    parts = [corpus.name, corpus.label_names, corpus.label_range, signatures]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _finished_recipe(dataset: Path) -> str | None:
    """The recipe of the dataset in a folder; None if there is no complete dataset."""
    try:
        return json.loads((dataset / "metadata.json").read_text()).get("recipe")
    except (FileNotFoundError, ValueError):
        return None


def _bar(results: Iterable, total: int, title: str, *, shown: bool) -> Iterable:
    return progress_bar(results, total=total, desc=title, unit="clip", disable=not shown)
