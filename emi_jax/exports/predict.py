"""Predicts with the files of this folder alone: python predict.py CLIP.npz ... (arrays as in preprocessing.json)."""

import json
import sys
from pathlib import Path

import numpy as np
from jax import device_get, device_put, export, jit
from safetensors.numpy import load_file

FACTS = json.loads(Path(__file__).with_name("preprocessing.json").read_text(encoding="utf-8"))
PROGRAM = jit(export.deserialize(bytearray(Path(__file__).with_name("predictor.jax_export").read_bytes())).call)
WEIGHTS = device_put(load_file(Path(__file__).with_name("model.safetensors")))


def predict(clips: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """What the model says of clips, each a dict of arrays without a batch axis; the results are [clips, ...]."""
    batch = {name: np.zeros((len(clips), *fact["shape"]), fact["dtype"]) for name, fact in FACTS["inputs"].items()}
    for row, clip in enumerate(clips):
        for name, array in clip.items():
            mask, needs = FACTS["inputs"][name]["mask"], FACTS["inputs"][name]["needs"]
            assert set(needs) <= clip.keys(), f"{name} needs {needs}"
            np.copyto(batch[name][row, : len(array)], array, casting="same_kind")
            batch[mask][row, : len(array)] = clip.get(mask, True)
    return device_get(PROGRAM(WEIGHTS, batch))


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(path, FACTS["labels"]["names"], *predict([dict(np.load(path))])["intensities"].tolist())
