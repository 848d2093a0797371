"""Checks a prepared dataset: reads it back example by example and verifies what training relies on."""

import collections
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_prep.build.dataset import dataset_path, open_dataset
from data_prep.build.report import FILE as REPORT
from data_prep.build.report import Report
from data_prep.build.staging import content_digest, fingerprint
from data_prep.clips.clip import ClipSource
from data_prep.clips.word_times import time_fault
from data_prep.corpora.reading import Request, read_corpus
from data_prep.errors import CorpusError
from data_prep.media.container import SAMPLE_RATE
from emi_jax.errors import UserError
from emi_jax.inputs.index import FILE as INDEX
from emi_jax.inputs.index import Row, read_index, row_of
from emi_jax.progress import progress_bar

TYPES = {
    "times": np.float32,
    "face_found": np.bool_,
    "landmarks": np.float32,
    "audio": np.int16,
    "word_times": np.float32,
    "labels": np.float32,
}
ROUNDING = 0.05
"""Seconds by which the last picture or sample may exceed the clip option max_seconds."""

FEW = 100
"""Up to this many clips may share one label value: a rare emotion is 0 in most clips."""


def check_dataset(out: Path, request: Request | None = None, progress: bool = True) -> list[str]:
    """Checks the dataset in a data folder, without writing anything.

    Args:
        out: the data folder.
        request: the corpus that it was made from, to compare labels, subjects and words with its tables, by clip name.
        progress: whether to show progress bars.

    Returns:
        One line for each problem: an unreadable record, a malformed example, a duplicate name, a subject or a clip's
        content that occurs in two splits, a split without examples, a label that never varies, a difference from the
        fingerprint, the report or the corpus. Empty when there is no problem.

    Raises:
        CorpusError: there is no dataset.
    """
    if not (dataset_path(out) / "dataset_info.json").is_file():
        raise CorpusError(
            f"{out}: found no dataset, expected {dataset_path(out)}; python -m data_prep --corpus=CORPUS --source=DIR "
            f"--out={out} makes one"
        )
    named = {(clip.split, clip.id): clip for clip in read_corpus(request, write=False).clips} if request else None
    builder = open_dataset(out)
    metadata, splits = builder.info.metadata, builder.info.splits
    counts = {split: info.num_examples for split, info in splits.items()}
    try:
        index = read_index(dataset_path(out), counts)
    except UserError as error:
        raise CorpusError(str(error)) from error
    faults: list[str] = []
    seen = _Seen()
    for split, info in splits.items():
        if not info.num_examples:
            faults.append(f"split {split}: found no examples, expected at least one")
            continue
        bar = progress_bar(total=info.num_examples, desc=f"checking {split}", unit="clip", disable=not progress)
        try:
            for example, row in zip(builder.as_data_source(split), index[split], strict=True):
                bar.update()
                name = f"{split} {_id(example)}"
                faults += [f"{name}: {fault}" for fault in _index_faults(example, row)]
                faults += [f"{name}: {fault}" for fault in _example_faults(example, metadata)]
                faults += seen.add(split, name, example)
                if named is not None:
                    clip = named.pop((split, _id(example)), None)
                    faults += [f"{name}: {fault}" for fault in _join_faults(example, clip)]
        except (RuntimeError, ValueError, KeyError, IndexError, OSError) as error:  # what ArrayRecord and TFDS raise
            reason = " ".join(str(error).split())
            faults.append(f"split {split}: record {bar.n + 1} of {info.num_examples} cannot be read: {reason}")
        finally:
            bar.close()
    if seen.count == sum(counts.values()) and seen.fingerprint(metadata) != metadata["fingerprint"]:
        faults.append("fingerprint: found another content than when the dataset was written")
    return [*faults, *seen.faults(metadata["label_names"]), *_report_faults(out, counts, named)]


def _index_faults(example: Mapping[str, Any], row: Row) -> Iterator[str]:
    """Compares an example with its row of the index."""
    for field, expected in row_of(example).items():
        if row[field] != expected:
            yield f"{field} in {INDEX}: found {row[field]!r}, expected {expected!r} as in the record"


class _Seen:
    """Collects the examples read so far, to check properties that span several of them."""

    def __init__(self) -> None:
        self._subjects: dict[str, set[str]] = collections.defaultdict(set)
        self._contents: dict[bytes, list[tuple[str, str]]] = collections.defaultdict(list)
        self._labels: dict[str, list[np.ndarray]] = collections.defaultdict(list)
        self._digests: list[tuple[str, str, str]] = []
        self._names: set[str] = set()

    @property
    def count(self) -> int:
        return len(self._digests)

    def add(self, split: str, name: str, example: Mapping[str, Any]) -> list[str]:
        """Records an example and returns what is wrong with it."""
        faults = [f"{name}: found more than once, expected once"] if name in self._names else []
        self._names.add(name)
        self._digests.append((split, _id(example), content_digest(example)))
        self._labels[split].append(example["labels"])
        if example["subject"]:
            self._subjects[example["subject"].decode()].add(split)
        if content := _content(example):
            self._contents[content].append((split, name))
        return faults

    def fingerprint(self, metadata: Mapping[str, Any]) -> str:
        return fingerprint(metadata["label_names"], metadata["label_range"], self._digests)

    def faults(self, label_names: list[str]) -> Iterator[str]:
        for subject, splits in sorted(self._subjects.items()):
            if len(splits) > 1:
                yield f"subject {subject}: found in {' and '.join(sorted(splits))}, expected in one split"
        for clips in self._contents.values():
            if len({split for split, _ in clips}) > 1:
                names = " and ".join(sorted(name for _, name in clips))
                yield f"same content: found in {names}, expected in one split"
        for split, rows in self._labels.items():
            if len({row.shape for row in rows}) > 1:
                continue  # each of them is already reported
            for label, values in zip(label_names, np.array(rows).T, strict=False):
                known = values[~np.isnan(values)]
                if len(known) > FEW and len(set(known)) == 1:
                    yield f"label {label}: found {known[0]:g} in all clips of split {split}, expected several values"


def _example_faults(example: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[str]:
    count, times, labels = len(example["faces"]), example["times"], example["labels"]
    if not count == len(times) == len(example["face_found"]):
        flags = len(example["face_found"])
        yield f"found {count} faces, {len(times)} times and {flags} flags, expected as many of each"
    yield from _landmark_faults(example)
    for modality, features in metadata.get("features", {}).items():
        values, times_of_rows = example[f"{modality}_features"], example[f"{modality}_feature_times"]
        yield from _feature_faults(modality, values, times_of_rows, features["width"], metadata["clip_options"])
    if not np.all(np.isfinite(times)):
        yield "found times that are not finite, expected seconds"
    elif np.any(np.diff(times) <= 0) or np.any(times < 0):
        yield "found times that do not ascend, expected ascending seconds"
    if any(example[name].dtype != kind for name, kind in TYPES.items()):
        yield f"found {', '.join(f'{name} of {example[name].dtype}' for name in TYPES)}, expected {TYPES}"
    words, word_times = len(example["transcript"].decode().split()), example["word_times"]
    if word_times.shape not in ((0, 2), (words, 2)):
        yield f"found times of shape {word_times.shape} for {words} words, expected ({words}, 2), or (0, 2) if unknown"
    elif fault := time_fault(word_times):
        yield f"found {fault}, expected ascending seconds"
    if labels.shape != (len(metadata["label_names"]),):
        yield f"found labels of shape {labels.shape}, expected {len(metadata['label_names'])}"
    if np.any((labels < 0) | (labels > 1)) or np.any(np.isinf(labels)):
        yield f"found labels {labels.tolist()}, expected values from 0 to 1 or NaN"
    options = metadata["clip_options"]
    size, most, longest = options["face_size"], options["max_frames"], options["max_seconds"]
    if count > most:
        yield f"found {count} faces, expected at most {most}"
    seconds = max([len(example["audio"]) / SAMPLE_RATE, *times[np.isfinite(times)].tolist()])
    if seconds > longest + ROUNDING:
        yield f"found {seconds:.2f} s of pictures or sound, expected at most {longest:g}"
    for number, data in enumerate(example["faces"]):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
        if image is None or image.shape != (size, size, 3):
            yield f"face {number}: found {'no JPEG' if image is None else image.shape}, expected ({size}, {size}, 3)"
    rows = sum(len(value) for name, value in example.items() if name.endswith("_features"))
    if not (count or len(example["audio"]) or example["transcript"] or rows):
        yield "found no faces, no sound, no words and no features, expected one of them"


def _landmark_faults(example: Mapping[str, Any]) -> Iterator[str]:
    """Yields what is wrong with the landmarks [N, 5, 2]: each picture has all of them, or NaN throughout."""
    landmarks, found = example["landmarks"], example["face_found"]
    if landmarks.shape != (count := len(found), 5, 2):
        yield f"found landmarks of shape {landmarks.shape}, expected {(count, 5, 2)}"
        return
    known = np.isfinite(landmarks).all((1, 2))
    if not np.isnan(landmarks[~known]).all():
        yield "found landmarks that are not all finite, expected NaN for all five where one is unknown"
    if (known & ~found).any():
        yield "found landmarks in pictures without a face, expected NaN"


def _feature_faults(
    modality: str, values: np.ndarray, times: np.ndarray, width: int, options: Mapping[str, Any]
) -> Iterator[str]:
    """Yields what is wrong with a user's own features [T, D] and their times [T]."""
    if values.shape != (len(times), width) or {values.dtype, times.dtype} != {np.dtype(np.float32)}:
        yield (
            f"found {modality} features of shape {values.shape} and {values.dtype} with {len(times)} times, expected "
            f"float32 of shape ({len(times)}, {width})"
        )
    if not (np.isfinite(values).all() and np.isfinite(times).all()):
        yield f"found {modality} features that are not finite, expected valid rows alone"
    elif np.any(np.diff(times) <= 0) or np.any(times < 0) or np.any(times > options["max_seconds"]):
        yield f"found times of {modality} features that do not ascend from 0 s to at most {options['max_seconds']:g} s"


def _join_faults(example: Mapping[str, Any], clip: ClipSource | None) -> Iterator[str]:
    """Yields the differences between an example and what the corpus' tables say about the clip with its name."""
    if clip is None:
        yield "found no such clip in the corpus, expected its name in this split"
        return
    labels = np.array(clip.labels or [np.nan] * len(example["labels"]), np.float32)
    if labels.shape != example["labels"].shape or not np.array_equal(labels, example["labels"], equal_nan=True):
        yield f"found labels {example['labels'].tolist()}, expected {labels.tolist()} by its name"
    if (subject := example["subject"].decode()) != clip.subject:
        yield f"found subject {subject!r}, expected {clip.subject!r} by its name"
    words = example["transcript"].decode()
    if clip.transcript is not None and words != clip.transcript.strip():
        yield f"found the words {words!r}, expected {clip.transcript.strip()!r} by its name"


def _report_faults(
    out: Path, counts: Mapping[str, int], missing: Mapping[tuple[str, str], Any] | None
) -> Iterator[str]:
    """Yields the differences between the dataset, the report next to it and, if it was read, the corpus."""
    report = Report.load(out)
    if report is None:
        yield f"{out / REPORT}: found no readable report, expected the one of the preparation"
        return
    if report.clips != counts:
        yield f"{REPORT}: found {report.clips} clips, expected {counts} as in the dataset"
    left_out = {(entry["split"], entry["id"]) for entry in report.left_out}
    for split, name in sorted(set(missing or ()) - left_out):
        yield f"{split} {name}: found in neither dataset nor report, expected in one"


def _id(example: Mapping[str, Any]) -> str:
    return example["id"].decode()


def _content(example: Mapping[str, Any]) -> bytes:
    """A hash of faces, sound and features; empty for a clip with words only, since two clips may share their words."""
    features = [example[name].tobytes() for name in sorted(example) if name.endswith("_features")]
    data = b"".join([*example["faces"], example["audio"].tobytes(), *features])
    return hashlib.sha256(data).digest() if data else b""
