"""Checks a prepared dataset: what training relies on, read back example by example."""

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
from data_prep.clips.clip import ClipSource
from data_prep.corpora import Corpus
from data_prep.corpora.reading import Request, read_corpus
from data_prep.errors import CorpusError

TYPES = {"times": np.float32, "face_found": np.bool_, "audio": np.int16, "labels": np.float32}


def check_dataset(out: Path, request: Request | None = None) -> list[str]:
    """Reads the dataset in a data folder.

    Args:
        out: the data folder.
        request: the corpus that it was made from, to hold labels, subjects and words against its tables by name.

    Returns:
        One line for each fault: an example that is malformed, a name that is there twice, a subject or a clip's
        content that is in two splits, a split without examples, a difference from the report or the corpus. Empty
        when there are none.

    Raises:
        CorpusError: there is no dataset.
    """
    if not (dataset_path(out) / "dataset_info.json").is_file():
        raise CorpusError(
            f"{out}: found no dataset, expected {dataset_path(out)}; python -m data_prep --out={out} makes one"
        )
    builder = open_dataset(out)
    metadata = builder.info.metadata
    faults: list[str] = []
    subjects: dict[str, set[str]] = collections.defaultdict(set)
    contents: dict[bytes, list[str]] = collections.defaultdict(list)
    seen: set[str] = set()
    told = _told(read_corpus(request, 1)) if request else None
    for split, info in builder.info.splits.items():
        if not info.num_examples:
            faults.append(f"split {split}: found no examples, expected at least one")
            continue
        for example in builder.as_data_source(split):
            name = f"{split} {_id(example)}"
            faults += [f"{name}: {fault}" for fault in _example_faults(example, metadata)]
            if name in seen:
                faults.append(f"{name}: found more than once, expected once")
            seen.add(name)
            if told is not None:
                faults += [f"{name}: {fault}" for fault in _join_faults(example, told.pop((split, _id(example)), None))]
            if example["subject"]:
                subjects[example["subject"].decode()].add(split)
            if content := _content(example):
                contents[content].append(name)
    for subject, splits in sorted(subjects.items()):
        if len(splits) > 1:
            faults.append(f"subject {subject}: found in {' and '.join(sorted(splits))}, expected in one split")
    for names in contents.values():
        if len({name.split()[0] for name in names}) > 1:
            faults.append(f"same content: found in {' and '.join(sorted(names))}, expected in one split")
    counts = {split: info.num_examples for split, info in builder.info.splits.items()}
    return faults + list(_report_faults(out, counts, told))


def _example_faults(example: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[str]:
    count, times, labels = len(example["faces"]), example["times"], example["labels"]
    if not count == len(times) == len(example["face_found"]):
        flags = len(example["face_found"])
        yield f"found {count} faces, {len(times)} times and {flags} flags, expected as many of each"
    if np.any(np.diff(times) <= 0) or np.any(times < 0):
        yield "found times that do not rise, expected ascending seconds"
    if any(example[name].dtype != kind for name, kind in TYPES.items()):
        yield f"found {', '.join(f'{name} of {example[name].dtype}' for name in TYPES)}, expected {TYPES}"
    if labels.shape != (len(metadata["label_names"]),):
        yield f"found labels of shape {labels.shape}, expected {len(metadata['label_names'])}"
    if np.any((labels < 0) | (labels > 1)) or np.any(np.isinf(labels)):
        yield f"found labels {labels.tolist()}, expected values from 0 to 1 or NaN"
    size = metadata["clip_options"]["face_size"]
    for number, data in enumerate(example["faces"]):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is None or image.shape != (size, size, 3):
            yield f"face {number}: found {'no JPEG' if image is None else image.shape}, expected ({size}, {size}, 3)"
    if not count and not len(example["audio"]) and not example["transcript"]:
        yield "found no faces, no sound and no words, expected one of them"


def _told(corpus: Corpus) -> dict[tuple[str, str], ClipSource]:
    return {(clip.split, clip.id): clip for clip in corpus.clips}


def _join_faults(example: Mapping[str, Any], told: ClipSource | None) -> Iterator[str]:
    """Where an example differs from what the corpus' tables say of the clip of its name."""
    if told is None:
        yield "found no such clip in the corpus, expected its name in this split"
        return
    labels = np.array(told.labels or [np.nan] * len(example["labels"]), np.float32)
    if labels.shape != example["labels"].shape or not np.array_equal(labels, example["labels"], equal_nan=True):
        yield f"found labels {example['labels'].tolist()}, expected {labels.tolist()} by its name"
    if (subject := example["subject"].decode()) != told.subject:
        yield f"found subject {subject!r}, expected {told.subject!r} by its name"
    words = example["transcript"].decode()
    if told.transcript is not None and words != told.transcript.strip():
        yield f"found the words {words!r}, expected {told.transcript.strip()!r} by its name"


def _report_faults(
    out: Path, counts: Mapping[str, int], missing: Mapping[tuple[str, str], Any] | None
) -> Iterator[str]:
    """Differences between the dataset, the report beside it and, where it was read, the corpus."""
    if not (out / REPORT).is_file():
        yield f"{out / REPORT}: found no report, expected the one of the preparation"
        return
    report = Report.load(out)
    if report.clips != counts:
        yield f"{REPORT}: found {report.clips} clips, expected {counts} as in the dataset"
    left_out = {(entry["split"], entry["id"]) for entry in report.left_out}
    for split, name in sorted(set(missing or ()) - left_out):
        yield f"{split} {name}: found in neither dataset nor report, expected in one"


def _id(example: Mapping[str, Any]) -> str:
    return example["id"].decode()


def _content(example: Mapping[str, Any]) -> bytes:
    """A hash of what is seen and heard; empty for a clip of words alone, which two clips may share."""
    data = b"".join([*example["faces"], example["audio"].tobytes()])
    return hashlib.sha256(data).digest() if data else b""
