"""The contrastive model: its parameters, its unit vectors, its temperature."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.models.contrastive import SIGMOID, ContrastiveModel, ContrastivePair
from tests.models.test_towers import TOWERS, make_batch
from tests.modules import random_params, run

MODEL = ContrastiveModel(TOWERS, width=8)


@pytest.fixture(scope="module")
def params():
    params = random_params(MODEL, make_batch())
    for pair in params["pairs"].values():
        pair["logit_scale"] = np.float32(math.log(20.0))
    return params


def test_parameters_lie_under_towers_and_pairs(params):
    assert set(params) == {"towers", "pairs"}
    assert set(params["towers"]) == {"vision", "audio", "text"}
    assert set(params["pairs"]) == {"vision", "audio"}
    assert set(params["pairs"]["audio"]) == {"audio_projection", "text_projection", "logit_scale"}
    assert set(params["pairs"]["audio"]["audio_projection"]) == {"kernel"}


def test_pairs_are_the_projected_clips_as_unit_vectors(params):
    batch = make_batch()
    pairs = run(MODEL, params, batch)
    encoded = run(TOWERS, params["towers"], batch)
    assert set(pairs) == {"vision", "audio"}
    for name, (left, text, scale, bias) in pairs.items():
        assert bias is None
        for ours, modality in ((left, name), (text, "text")):
            projected = encoded[modality][1] @ params["pairs"][name][f"{modality}_projection"]["kernel"]
            norm = np.linalg.norm(projected, axis=-1, keepdims=True)
            np.testing.assert_allclose(ours, projected / np.maximum(norm, 1e-6), atol=1e-5)
        np.testing.assert_allclose(scale, 20, rtol=1e-6)
    np.testing.assert_array_equal(pairs["vision"][0][2], 0)  # a clip without a frame


def test_encode_returns_the_clip_vectors_and_masks_of_the_towers(params):
    encoded = run(MODEL, params, make_batch(), method="encode")
    expected = {name: (clip, mask) for name, (_, clip, mask) in run(TOWERS, params["towers"], make_batch()).items()}
    jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-6), encoded, expected)


def test_a_pair_can_be_trained_alone():
    batch = {name: array for name, array in make_batch().items() if "audio" not in name}
    params = random_params(ContrastiveModel(TOWERS, ("vision",), width=8), batch)
    assert set(params["towers"]) == {"vision", "text"}
    assert set(params["pairs"]) == {"vision"}


def test_gradients_are_finite_with_absent_clips(params):
    def loss(p):
        return sum(
            ((left @ text.T) * scale).mean()
            for left, text, scale, _ in MODEL.apply({"params": p}, make_batch()).values()
        )

    gradient = jax.jit(jax.grad(loss))(params)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert jnp.abs(gradient["pairs"]["vision"]["logit_scale"]) > 0


def test_a_clamped_scale_still_has_its_gradient():
    pair = ContrastivePair("vision", width=4)
    x = np.ones((2, 3), np.float32)
    params = pair.init(jax.random.key(0), x, x)["params"]
    np.testing.assert_allclose(params["logit_scale"], math.log(1 / 0.07), rtol=1e-6)

    def scale(log_scale):
        return pair.apply({"params": {**params, "logit_scale": log_scale}}, x, x).scale

    for log_scale, expected in ((math.log(50.0), 50.0), (math.log(300.0), 100.0)):
        value, gradient = jax.value_and_grad(scale)(jnp.float32(log_scale))
        np.testing.assert_allclose((value, gradient), (expected, expected), rtol=1e-5)


def test_the_sigmoid_loss_has_a_bias_and_a_scale_without_limit():
    pair, x = ContrastivePair("vision", width=4, loss=SIGMOID), np.ones((2, 3), np.float32)
    params = pair.init(jax.random.key(0), x, x)["params"]
    np.testing.assert_allclose((params["logit_scale"], params["logit_bias"]), (math.log(10), -10), rtol=1e-6)
    params = {**params, "logit_scale": np.float32(math.log(300)), "logit_bias": np.float32(-12)}
    embedded = pair.apply({"params": params}, x, x)
    np.testing.assert_allclose((embedded.scale, embedded.bias), (300, -12), rtol=1e-5)
