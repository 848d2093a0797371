"""A small dataset in memory, in the form in which TFDS gives the real one."""

import dataclasses
import functools
from pathlib import Path

import cv2
import numpy as np

from data_prep.build.dataset import write_dataset
from data_prep.clips.options import ClipOptions
from emi_jax.inputs.dataset import Dataset
from emi_jax.inputs.index import Row, row_of

NAMES = ("Admiration", "Amusement", "Determination", "Empathic Pain", "Excitement", "Joy")
WORDS = ("what", "a", "lovely", "day", "this", "hurts", "so", "funny", "come", "on", "wow", "great")


def make_example(rng: np.random.Generator, name: str, *, frames: int = 6, samples: int = 8000, words: int = 5) -> dict:
    """One clip; 0 frames, samples or words leave its modality out."""
    pictures = rng.integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8)
    return {
        "id": name.encode(),
        "faces": [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures],
        "times": np.arange(frames, dtype=np.float32) / 5,
        "face_found": np.ones(frames, bool),
        "landmarks": rng.uniform(0.2, 0.8, (frames, 5, 2)).astype(np.float32),
        "audio": rng.integers(-9000, 9000, samples).astype(np.int16),
        "transcript": " ".join(rng.choice(WORDS, words)).encode(),
        "word_times": np.zeros((0, 2), np.float32),
        "labels": rng.random(len(NAMES)).astype(np.float32),
        "subject": b"",
    }


def make_examples(count: int, seed: int = 0) -> list[dict]:
    """Clips of different lengths, among them each kind that lacks a modality."""
    rng = np.random.default_rng(seed)
    examples = []
    for index in range(count):
        sizes = {
            "frames": int(rng.integers(2, 9)),
            "samples": int(rng.integers(4000, 12000)),
            "words": int(rng.integers(2, 7)),
        }
        if index % 5 == 4:
            sizes[("frames", "samples", "words")[index // 5 % 3]] = 0
        examples.append(make_example(rng, f"{index:05d}", **sizes))
    return examples


@dataclasses.dataclass(frozen=True)
class _Builder:
    examples: dict[str, list[dict]]

    def as_data_source(self, split: str) -> list[dict]:
        return self.examples[split]

    def index(self, split: str) -> list[Row]:
        return [row_of(example) for example in self.examples[split]]


def make_dataset(train: int = 12, valid: int = 7, test: int = 7) -> Dataset:
    """A dataset of random clips."""
    counts = {"train": train, "valid": valid, "test": test}
    examples = {split: make_examples(count, seed) for seed, (split, count) in enumerate(counts.items())}
    return Dataset(
        directory=None,  # type: ignore[arg-type]
        label_names=NAMES,
        label_range=(0.0, 1.0),
        corpus="synthetic",
        clip_options=ClipOptions(max_frames=6, max_seconds=1.0, face_size=32, detector="haar").stored(),
        available={},
        ceiling={},
        fingerprint="testing only",
        features={},
        splits=counts,
        builder=_Builder(examples),
    )


def store(dataset: Dataset, folder: Path) -> None:
    """Writes the clips to a folder, as preparation does."""

    def named(split: str):
        return ((example["id"].decode(), example) for example in dataset.builder.examples[split])

    splits = {split: functools.partial(named, split) for split in dataset.splits}
    write_dataset(folder, splits, dataset.description() | {"available": {}, "ceiling": {}})


def with_subjects(dataset: Dataset, people: int = 5) -> Dataset:
    """The same clips, dealt out to so many people, each with a name of its own in each split's folder."""
    for split, examples in dataset.builder.examples.items():
        for index, example in enumerate(examples):
            example["subject"] = f"s{index % people}".encode()
            example["id"] = f"{split}/{index}".encode()
    return dataset
