"""Moments equal NumPy's over all valid steps and clips, and survive the disk."""

import numpy as np
import pytest

from emi_jax.descriptors.statistics import pooled_statistics
from emi_jax.errors import UserError
from emi_jax.inputs.standardisation import load, measure, save


def make_clips():
    rng = np.random.default_rng(0)
    features = [rng.normal(5, 3, (t, 4)).astype(np.float16) for t in (6, 3, 8)]
    for x in features:
        x[:, 0] = 7.0
    masks = [rng.random(len(x)) < 0.7 for x in features]
    masks[1][:] = False
    return [{"audio/features": x, "audio/mask": mask} for x, mask in zip(features, masks, strict=True)]


def test_moments_equal_numpy(tmp_path):
    clips = make_clips()
    found = measure(clips, "audio")
    steps = np.concatenate([clip["audio/features"][clip["audio/mask"]] for clip in clips]).astype(np.float64)
    np.testing.assert_allclose(found.steps.mean, steps.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.steps.deviation, [1, *steps.std(axis=0)[1:]], rtol=1e-4)
    rows = [pooled_statistics(clip["audio/features"], clip["audio/mask"]) for clip in (clips[0], clips[2])]
    np.testing.assert_allclose(found.pooled.mean, np.mean(rows, axis=0), rtol=1e-5)
    spread = np.std(rows, axis=0)
    np.testing.assert_allclose(found.pooled.deviation, np.where(spread > 1e-4, spread, 1), rtol=1e-4)
    save(tmp_path / "moments.safetensors", {"audio": found})
    again = load(tmp_path / "moments.safetensors")["audio"]
    for one, other in zip((*found.steps, *found.pooled), (*again.steps, *again.pooled), strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_valid_has_no_moments():
    assert measure([{"audio/features": np.ones((2, 3)), "audio/mask": np.zeros(2, bool)}], "audio") is None


def test_missing_and_damaged_files_are_errors(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0")
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "cut.safetensors")
