"""Checks a prepared dataset: what training relies on, read back example by example."""

import collections
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from data_prep.dataset import dataset_path, open_dataset
from data_prep.errors import CorpusError


def check_dataset(out: Path) -> list[str]:
    """Reads the dataset in a data folder.

    Returns:
        One line for each fault: an example that is malformed, a subject or a clip's content that is in two splits, a
        split without examples. Empty when there are none.

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
    for split, info in builder.info.splits.items():
        if not info.num_examples:
            faults.append(f"split {split}: found no examples, expected at least one")
            continue
        for example in builder.as_data_source(split):
            name = f"{split} {example['id'].decode()}"
            faults += [f"{name}: {fault}" for fault in _example_faults(example, metadata)]
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
    return faults


def _example_faults(example: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[str]:
    count, times, labels = len(example["faces"]), example["times"], example["labels"]
    if not count == len(times) == len(example["face_found"]):
        flags = len(example["face_found"])
        yield f"found {count} faces, {len(times)} times and {flags} flags, expected as many of each"
    if np.any(np.diff(times) <= 0) or np.any(times < 0):
        yield "found times that do not rise, expected ascending seconds"
    if labels.shape != (len(metadata["label_names"]),):
        yield f"found labels of shape {labels.shape}, expected {len(metadata['label_names'])}"
    if np.any((labels < 0) | (labels > 1)) or np.any(np.isinf(labels)):
        yield f"found labels {labels.tolist()}, expected values from 0 to 1 or NaN"
    size = metadata["face_size"]
    for number, data in enumerate(example["faces"]):
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is None or image.shape != (size, size, 3):
            yield f"face {number}: found {'no JPEG' if image is None else image.shape}, expected ({size}, {size}, 3)"
    if not count and not len(example["audio"]) and not example["transcript"]:
        yield "found no faces, no sound and no words, expected one of them"


def _content(example: Mapping[str, Any]) -> bytes:
    """A hash of what is seen and heard; empty for a clip of words alone, which two clips may share."""
    data = b"".join([*example["faces"], example["audio"].tobytes()])
    return hashlib.sha256(data).digest() if data else b""
