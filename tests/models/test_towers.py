"""Towers: from raw batch arrays to features, with padding and absence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from transformers import Wav2Vec2FeatureExtractor

from emi_jax.encoders.registry import build_encoder
from emi_jax.models.towers import AudioTower, TextTower, Towers, VisionTower, normalize_waveform
from tests.modules import DROPOUT, random_params, run

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
SIZES = {
    "vision": {**SMALL, "image_size": 16, "patch_size": 8},
    "audio": {
        **SMALL,
        "conv_dim": (8, 8),
        "conv_kernel": (10, 4),
        "conv_stride": (5, 4),
        "num_conv_pos_embeddings": 6,
        "num_conv_pos_embedding_groups": 4,
    },
    "text": {**SMALL, "vocab_size": 30, "max_position_embeddings": 12},
}
VISION = build_encoder({"model_type": "vit", **SIZES["vision"]})
AUDIO = build_encoder({"model_type": "wav2vec2", **SIZES["audio"]})
TEXT = build_encoder({"model_type": "bert", **SIZES["text"]})
TOWERS = Towers(VisionTower(VISION, MEAN, STD), AudioTower(AUDIO, normalize=True), TextTower(TEXT))


def make_batch():
    """Three clips: whole, padded, with nothing at all."""
    rng = np.random.default_rng(0)
    return {
        "frames": rng.integers(0, 256, (3, 2, 16, 16, 3), dtype=np.uint8),
        "frame_mask": np.array([[True, True], [True, False], [False, False]]),
        "audio": rng.integers(-9000, 9000, (3, 200), dtype=np.int16),
        "audio_mask": np.arange(200)[None] < np.array([200, 120, 0])[:, None],
        "tokens": rng.integers(0, 30, (3, 6), dtype=np.int32),
        "token_mask": np.arange(6)[None] < np.array([6, 2, 0])[:, None],
    }


@pytest.fixture(scope="module")
def params():
    return random_params(TOWERS, make_batch())


def test_parameters_lie_under_tower_and_encoder(params):
    assert set(params) == {"vision", "audio", "text"}
    assert all(set(tower) == {"encoder"} for tower in params.values())


def test_vision_is_one_pooled_vector_for_each_normalised_frame(params):
    batch = make_batch()
    sequence, clip, mask = run(TOWERS, params, batch, modalities=("vision",))["vision"]
    pixels = (batch["frames"] / 255 - np.array(MEAN)) / np.array(STD)
    _, expected = run(VISION, params["vision"]["encoder"], pixels[1].astype(np.float32))
    np.testing.assert_allclose(sequence[1], expected, atol=1e-5)
    np.testing.assert_allclose(clip[0], sequence[0].mean(0), atol=1e-6)
    np.testing.assert_allclose(clip[1], sequence[1, 0], atol=1e-6)
    np.testing.assert_array_equal(clip[2], 0)
    np.testing.assert_array_equal(mask, batch["frame_mask"])


def test_audio_is_normalised_over_its_valid_samples_as_hugging_face_does():
    batch = make_batch()
    lengths = batch["audio_mask"].sum(1)
    waveform = batch["audio"].astype(np.float32) / 32768
    ours = np.asarray(normalize_waveform(waveform, batch["audio_mask"]))
    expected = Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm(list(waveform[:2]), batch["audio_mask"][:2].astype(int))
    np.testing.assert_allclose(ours[:2], np.stack(expected), atol=1e-5)
    assert lengths[2] == 0
    np.testing.assert_array_equal(ours[2], 0)


@pytest.mark.parametrize("normalize", [True, False])
def test_audio_passes_on_the_scaled_waveform_and_valid_steps(normalize, params):
    batch = make_batch()
    tower = AudioTower(AUDIO, normalize)
    sequence, clip, mask = run(tower, params["audio"], batch["audio"], batch["audio_mask"])
    waveform = batch["audio"][1:2, :120].astype(np.float64) / 32768
    if normalize:
        waveform = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
    expected, _ = run(AUDIO, params["audio"]["encoder"], waveform.astype(np.float32))
    np.testing.assert_array_equal(mask.sum(1), [9, 5, 0])
    np.testing.assert_allclose(sequence[1, :5], expected[0], atol=1e-5)
    np.testing.assert_allclose(clip[1], expected[0].mean(0), atol=1e-5)


def test_text_is_the_output_of_the_encoder(params):
    batch = make_batch()
    sequence, clip, mask = run(TOWERS, params, batch)["text"]
    expected, pooled = run(TEXT, params["text"]["encoder"], batch["tokens"][1:2, :2])
    np.testing.assert_allclose(sequence[1, :2], expected[0], atol=1e-5)
    np.testing.assert_allclose(clip[1], pooled[0], atol=1e-5)
    np.testing.assert_array_equal(mask, batch["token_mask"])


def test_a_clip_with_nothing_has_finite_gradients(params):
    batch = make_batch()

    def loss(p):
        encoded = TOWERS.apply({"params": p}, batch, deterministic=False, rngs=DROPOUT)
        return sum(jnp.square(x).mean() for sequence, clip, _ in encoded.values() for x in (sequence, clip))

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    assert jnp.isfinite(value)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_only_the_requested_towers_run(params):
    batch = {name: array for name, array in make_batch().items() if "token" in name}
    assert set(run(TOWERS, params, batch, modalities=("text",))) == {"text"}
    alone = Towers(text=TextTower(TEXT))
    assert set(run(alone, {"text": params["text"]}, batch)) == {"text"}
    with pytest.raises(ValueError, match="there is no audio tower"):
        run(alone, {"text": params["text"]}, batch, modalities=("audio",))
