"""Compares our encoders with what PyTorch computed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from emi_jax.models.speech_features import audio_step_mask
from emi_jax.pretrained import load_encoder

TOLERANCE = 1e-4  # of the largest magnitude


def assert_close(ours, theirs: np.ndarray) -> None:
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()


def assert_agrees(folder: Path, role: str, inputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]):
    """Loads the encoder of a folder and compares sequence, pooled and all states on valid steps."""
    encoder, params = load_encoder(folder, role)
    mask = inputs.get("mask")
    sequence, pooled, states = encoder.apply({"params": params}, inputs["inputs"], mask, output_hidden_states=True)
    if mask is None:
        valid = np.ones(expected["states"].shape[1:3], bool)
    else:
        valid = np.asarray(audio_step_mask(mask, encoder.config)) if role == "audio" else mask
    steps = slice(1, None) if role == "vision" else slice(None)
    assert_close(np.asarray(sequence)[valid[:, steps]], expected["sequence"][valid[:, steps]])
    assert len(states) == len(expected["states"])
    for ours, theirs in zip(states, expected["states"], strict=True):
        assert_close(np.asarray(ours)[valid], theirs[valid])
    if "pooled" in expected:
        assert_close(pooled, expected["pooled"])
    return encoder, params
