"""Stage 2 on audio encoders with other front ends: features, masks, flags and times of their steps, and gradients."""

from types import SimpleNamespace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.encoders.pretrained import load_encoder
from emi_jax.modalities import AUDIO
from emi_jax.models.towers import AudioTower, Towers
from emi_jax.stages.intensity import Intensity
from tests.golden.make import GOLDEN
from tests.modules import DROPOUT

SAMPLES = 2560
# Steps of 2560 and 1700 samples, width, seconds of the first step.
FAMILIES = pytest.mark.parametrize(
    ("name", "counts", "width", "first"),
    [
        ("whisper", (8, 6), 16, 0.0),
        ("wav2vec2_bert", (7, 4), 16, 0.0175),
        ("wav2vec2_emotion", (7, 5), 19, 0.0125),
        ("wavlm_stable", (7, 5), 16, 0.0125),
        ("data2vec_audio", (7, 5), 16, 0.0125),
    ],
)


def make_batch():
    rng, lengths = np.random.default_rng(0), np.array([2560, 1700])
    mask = np.arange(SAMPLES)[None] < lengths[:, None]
    return {
        "audio": rng.integers(-9000, 9000, mask.shape, np.int16),
        "audio_mask": mask,
        "audio_clean": mask & (np.arange(SAMPLES) < 1280)[None],
        "audio_supervised": mask,
        "audio_start": np.float32([0.0, 2.0]),
        "audio_tempo": np.float32([1.0, 1.0]),
    }


@FAMILIES
def test_steps_of_every_family(name, counts, width, first):
    encoder, params = load_encoder(GOLDEN / name, AUDIO, dtype=jnp.bfloat16, remat=True)
    batch, towers = make_batch(), Towers(audio=AudioTower(encoder, normalize=False))
    stage = Intensity(towers, SimpleNamespace(modalities=(AUDIO,)), batch, ("one",), trained_towers=(AUDIO,))

    def loss(p):
        steps = stage.encode({"audio": {"encoder": p}}, batch, DROPOUT["dropout"])
        return jnp.square(steps["audio/features"]).mean(), steps

    (_, steps), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    chex.assert_tree_all_finite((steps["audio/features"], gradient))
    assert steps["audio/features"].shape == (2, counts[0], width)
    assert steps["audio/mask"].sum(1).tolist() == list(counts)
    np.testing.assert_array_equal(steps["audio/supervised"], steps["audio/mask"])
    times = first + 0.02 * np.arange(counts[0])
    np.testing.assert_allclose(steps["audio/times"], [times, times + 2], rtol=1e-6)
    sure = np.abs(times - 0.08) > 0.01  # of these, more than half or less than half is clean
    np.testing.assert_array_equal(np.asarray(steps["audio/clean"])[0, sure], (times < 0.08)[sure])
