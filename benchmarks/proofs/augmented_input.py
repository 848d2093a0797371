"""How fast the input pipeline reads clips of the paper's size, without and with augmentation.

python -m benchmarks.proofs.augmented_input

Pictures of 256 pixels, 16 of them read at 224, and 12 s of sound. The processor time counts all threads and depends
little on what else runs on the machine.
"""

import collections
import time

import cv2
import numpy as np
from absl import app

from emi_jax.inputs.augmentation import Augmentation
from emi_jax.inputs.loader import batches
from emi_jax.inputs.sampling import Epochs
from emi_jax.inputs.texts import Words
from emi_jax.inputs.transforms import ClipTransform, InputShape
from emi_jax.modalities import AUDIO, SAMPLE_RATE, VISION

FRAMES, SECONDS, CLIPS, BATCH, ROUNDS = 16, 12, 128, 32, 5
SHAPE = InputShape(6, (VISION, AUDIO), FRAMES, image_size=224, num_samples=SECONDS * SAMPLE_RATE, num_tokens=1)
CASES = {
    "no augmentation": Augmentation(),
    "voice, each change at 0.5": Augmentation(voice=0.5),
    "face, each change at 0.5": Augmentation(face=0.5),
    "both": Augmentation(voice=0.5, face=0.5),
}


def main(_: list[str]) -> None:
    """Prints the median over rounds of clips per second and processor time for each case."""
    examples, plan = [_example()] * CLIPS, Epochs(CLIPS, BATCH, seed=0)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CASES}
    for _ in range(ROUNDS):  # the cases by turns, so that other load on the machine meets all of them
        for name, augmentation in CASES.items():
            transform = ClipTransform(SHAPE, Words(1), augment=True, augmentation=augmentation)
            began, worked = time.perf_counter(), time.process_time()
            collections.deque(batches(examples, transform, plan, steps=plan.steps), maxlen=0)
            found[name].append((CLIPS / (time.perf_counter() - began), (time.process_time() - worked) / CLIPS))
    for name, rounds in found.items():
        speed, processor = np.median(rounds, axis=0)
        print(f"{name:28} {speed:6.1f} clips/s {1000 * processor:6.1f} ms of processor time a clip")


def _example() -> dict:
    rng = np.random.default_rng(0)
    pictures = [cv2.GaussianBlur(rng.integers(0, 256, (256, 256, 3), np.uint8), (0, 0), 3) for _ in range(FRAMES)]
    return {
        "id": b"clip",
        "faces": [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures],
        "times": np.arange(FRAMES, dtype=np.float32),
        "face_found": np.ones(FRAMES, bool),
        "audio": rng.integers(-9000, 9000, SECONDS * SAMPLE_RATE).astype(np.int16),
        "transcript": b"",
        "labels": np.zeros(6, np.float32),
    }


if __name__ == "__main__":
    app.run(main)
