"""Compares our encoders with what PyTorch computed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from emi_jax.encoders.pretrained import load_encoder
from tests.modules import run

TOLERANCE = 1e-4  # of the largest magnitude


def assert_close(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Fails unless they agree to `TOLERANCE`."""
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()


def assert_agrees(folder: Path, role: str, inputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> Any:
    """Loads a folder's encoder, compares sequence, pooled and all states on valid steps, and returns what it loaded."""
    encoder, params = load_encoder(folder, role)
    mask = inputs.get("mask")
    sequence, pooled, states = run(encoder, params, inputs["inputs"], mask, output_hidden_states=True)
    if mask is None:
        valid = np.ones(expected["states"].shape[1:3], bool)
    else:
        valid = np.asarray(encoder.config.steps.mask(mask)) if role == "audio" else mask
    steps = valid[:, -sequence.shape[1] :]  # an image's class token and registers come first
    assert_close(sequence[steps], expected["sequence"][steps])
    assert len(states) == len(expected["states"])
    for ours, theirs in zip(states, expected["states"], strict=True):
        assert_close(ours[valid], theirs[valid])
    if "pooled" in expected:
        assert_close(pooled, expected["pooled"])
    return encoder, params
