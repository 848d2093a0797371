"""How fast the input pipeline reads clips of the paper's size from disk, by threads, without and with augmentation.

python -m benchmarks.compiled.input_rate

A dataset of clips with 170 pictures of 224 pixels and 12 s of sound is written to a temporary folder; 16 pictures of
each are read. Its records come from the system's cache in memory. The processor time counts all threads and depends
little on what else runs on the machine.
"""

import collections
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from absl import app, logging
from joblib import cpu_count

from data_prep.build.dataset import open_dataset, write_dataset
from data_prep.clips.options import ClipOptions
from emi_jax.inputs.augmentation import Augmentation
from emi_jax.inputs.loader import batches
from emi_jax.inputs.pieces import empty_example
from emi_jax.inputs.sampling import Epochs
from emi_jax.inputs.texts import Words
from emi_jax.inputs.transforms import ClipTransform, InputShape
from emi_jax.modalities import AUDIO, SAMPLE_RATE, VISION

PICTURES, SIZE, SECONDS, CLIPS, BATCH, ROUNDS = 170, 224, 12, 96, 32, 5
SHAPE = InputShape(6, (VISION, AUDIO), 16, SIZE, num_samples=SECONDS * SAMPLE_RATE, num_tokens=1)
ALL = cpu_count()
CASES = {
    "1 thread": (1, Augmentation()),
    f"{ALL} threads": (ALL, Augmentation()),
    f"{ALL} threads, voice augmented, each change at 0.5": (ALL, Augmentation(voice=0.5)),
    f"{ALL} threads, face augmented, each change at 0.5": (ALL, Augmentation(face=0.5)),
    f"{ALL} threads, both": (ALL, Augmentation(voice=0.5, face=0.5)),
}


def main(_: list[str]) -> None:
    """Prints the median over rounds of clips per second and processor time for each case, as a Markdown table."""
    logging.set_verbosity(logging.WARNING)  # TFDS logs every file that it writes
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as folder:
        write_dataset(Path(folder), {"train": _examples}, {"label_names": list("abcdef")})
        examples = open_dataset(Path(folder)).as_data_source("train")
        for round_ in range(ROUNDS + 1):  # the cases in turn, so that other load on the machine meets all of them
            for name, (threads, augmentation) in CASES.items():
                transform = ClipTransform(SHAPE, Words(1), augment=True, augmentation=augmentation)
                plan = Epochs(CLIPS, BATCH, seed=round_)
                began, worked = time.perf_counter(), time.process_time()
                collections.deque(batches(examples, transform, plan, steps=plan.steps, threads=threads), maxlen=0)
                if round_:  # the first one warms up
                    found[name].append((CLIPS / (time.perf_counter() - began), (time.process_time() - worked) / CLIPS))
    print(f"{ALL} cores\n\n| read by | clips/s | processor ms a clip |\n| --- | ---: | ---: |")
    for name, rounds in found.items():
        speed, processor = np.median(rounds, axis=0)
        print(f"| {name} | {speed:.0f} | {1000 * processor:.1f} |")


def _examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """Clips that differ in their names alone, as `write_dataset` takes them."""
    rng = np.random.default_rng(0)
    pictures = [cv2.GaussianBlur(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), (0, 0), 3) for _ in range(PICTURES)]
    quality = [cv2.IMWRITE_JPEG_QUALITY, ClipOptions().jpeg_quality]
    example = empty_example() | {
        "faces": [cv2.imencode(".jpg", picture, quality)[1].tobytes() for picture in pictures],
        "times": np.arange(PICTURES, dtype=np.float32) * SECONDS / PICTURES,
        "face_found": np.ones(PICTURES, bool),
        "landmarks": np.full((PICTURES, 5, 2), 0.5, np.float32),
        "audio": rng.integers(-9000, 9000, SECONDS * SAMPLE_RATE).astype(np.int16),
        "labels": np.zeros(6, np.float32),
    }
    for number in range(CLIPS):
        yield f"{number:05d}", example | {"id": f"{number:05d}"}


if __name__ == "__main__":
    app.run(main)
