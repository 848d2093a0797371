"""Random batches in the format of the input pipeline."""

from typing import Any

import numpy as np

from benchmarks.comparison.shapes import NUM_LABELS, Sizes, audio_steps
from emi_jax.modalities import SAMPLE_RATE

Batch = dict[str, np.ndarray]
SHORTEST = 0.5
"""Length of the shortest clip of a batch as a fraction of the longest; lengths are uniform in between."""


def clips(rng: np.random.Generator, sizes: Sizes, encoders: dict[str, dict[str, Any]], *, padded: bool = True) -> Batch:
    """A batch of raw clips.

    Args:
        rng: draws the content.
        sizes: sizes of the batch.
        encoders: encoder configs, for the image size and the vocabulary size.
        padded: whether clips have different lengths; if False, all have full length.
    """
    B, N, L = sizes.batch, sizes.num_frames, sizes.num_tokens
    S, side = round(sizes.seconds * SAMPLE_RATE), encoders["vision"].get("image_size", 224)
    share = rng.uniform(SHORTEST, 1.0, B) if padded else np.ones(B)
    masks = {name: _prefix(share, size) for name, size in (("frame", N), ("audio", S), ("token", L))}
    batch: Batch = {
        "frames": rng.integers(0, 256, (B, N, side, side, 3), dtype=np.uint8),
        "audio": rng.integers(-9000, 9000, (B, S)).astype(np.int16) * masks["audio"],
        "tokens": rng.integers(5, encoders["text"].get("vocab_size", 30522), (B, L)).astype(np.int32) * masks["token"],
    }
    for name, mask in masks.items():
        batch |= {f"{name}_mask": mask, f"{name}_clean": _segments(rng, mask), f"{name}_supervised": mask}
    batch["audio_start"], batch["audio_tempo"] = np.zeros(B, np.float32), np.ones(B, np.float32)
    batch |= {f"{name}_times": _times(sizes, masks[name].shape) for name in ("frame", "token")}
    return batch | _labels(rng, B)


def features(rng: np.random.Generator, sizes: Sizes, encoders: dict[str, dict[str, Any]]) -> Batch:
    """A batch as from the feature cache, with clips of different lengths."""
    B, share = sizes.batch, rng.uniform(SHORTEST, 1.0, sizes.batch)
    lengths = {
        "vision": sizes.num_frames,
        "audio": audio_steps(sizes.seconds, encoders["audio"]),
        "text": sizes.num_tokens,
    }
    batch = _labels(rng, B)
    for name, length in lengths.items():
        mask = _prefix(share, length)
        values = rng.standard_normal((B, length, encoders[name]["hidden_size"]), np.float32).astype(np.float16)
        parts = {"features": values, "mask": mask, "clean": _segments(rng, mask), "supervised": mask}
        parts["times"] = _times(sizes, mask.shape)
        batch |= {f"{name}/{part}": value for part, value in parts.items()}
    return batch


def sequences(rng: np.random.Generator, sizes: Sizes, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For a single module: inputs [B, T, d], a mask [B, T] of different lengths, and a gradient [B, T, d]."""
    shape = sizes.batch, length, sizes.width
    x, gradient = (rng.standard_normal(shape, np.float32) for _ in range(2))
    share = rng.uniform(SHORTEST, 1.0, sizes.batch)
    share[0] = 1.0
    return x, _prefix(share, length), gradient


def embeddings(rng: np.random.Generator, batch: int, width: int) -> tuple[np.ndarray, ...]:
    """Two sets of unit vectors [batch, width], transcripts of which a few are equal, and which clips are valid."""
    left, right = (rng.standard_normal((batch, width), np.float32) for _ in range(2))
    left, right = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (left, right))
    return left, right, rng.integers(0, 4 * batch, batch).astype(np.int32), np.ones(batch, bool)


def _labels(rng: np.random.Generator, B: int) -> Batch:
    known = rng.random((B, NUM_LABELS)) < 0.9
    return {
        "clip": np.arange(B, dtype=np.int32),
        "valid": np.ones(B, bool),
        "labels": np.where(known, rng.random((B, NUM_LABELS)), 0).astype(np.float32),
        "label_mask": known,
        "transcript": rng.integers(0, max(2, B // 2), B).astype(np.int32),
        "present": np.ones((B, 3), bool),
    }


def _times(sizes: Sizes, shape: tuple[int, ...]) -> np.ndarray:
    """Seconds of steps that are spread over the clips, float32 [B, t]."""
    return np.tile(np.linspace(0, sizes.seconds, shape[1], dtype=np.float32), (shape[0], 1))


def _prefix(share: np.ndarray, length: int) -> np.ndarray:
    return np.arange(length) < np.ceil(share * length)[:, None]


def _segments(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """True except in one segment of a third of each row."""
    length = mask.shape[1]
    start = rng.integers(0, length, (len(mask), 1))
    places = np.arange(length)
    return ~((places >= start) & (places < start + length // 3))
