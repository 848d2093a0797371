import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.models import build_encoder
from tests.golden.compare import assert_agrees
from tests.golden.make import CASES, make_inputs, make_model, run_torch

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "patch_size": 8}
VIT = {"model_type": "vit", **SMALL, "image_size": 16}
CLIP = {"model_type": "clip_vision_model", **SMALL, "image_size": 16}


@pytest.fixture
def pixels():
    return np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["vit", "clip_vision"])
def test_equals_pytorch(name, tmp_path):
    pytest.importorskip("torch")
    model, arrays = make_model(CASES[name], seed=1), make_inputs(CASES[name], seed=1)
    model.save_pretrained(tmp_path)
    assert_agrees(tmp_path, "vision", arrays, run_torch(model, **arrays))


def test_without_a_pooler_the_class_token_is_pooled(pixels):
    encoder = build_encoder({**VIT, "add_pooling_layer": False})
    params = encoder.init(jax.random.key(0), pixels)["params"]
    _, pooled, states = encoder.apply({"params": params}, pixels, output_hidden_states=True)
    token = np.asarray(states[-1])[:, 0]
    expected = (token - token.mean(-1, keepdims=True)) / np.sqrt(token.var(-1, keepdims=True) + 1e-12)
    np.testing.assert_allclose(pooled, expected, atol=1e-5)
    assert "pooler" not in params


@pytest.mark.parametrize("config", [VIT, CLIP], ids=["vit", "clip"])
def test_a_patch_of_the_picture_moves_with_its_token(config, pixels):
    """The second patch of the first row is token 1 of the sequence (class token left out)."""
    encoder = build_encoder({**config, "num_hidden_layers": 0})
    params = encoder.init(jax.random.key(0), pixels)["params"]
    changed = pixels.copy()
    changed[:, :8, 8:] += np.random.default_rng(1).normal(size=(2, 8, 8, 3))
    before, _ = encoder.apply({"params": params}, pixels)
    after, _ = encoder.apply({"params": params}, changed)
    difference = np.abs(np.asarray(before - after)).max((0, 2))
    np.testing.assert_array_equal(difference > 0, [False, True, False, False])


@pytest.mark.parametrize("config", [VIT, CLIP], ids=["vit", "clip"])
def test_bfloat16_is_close_to_float32(config, pixels):
    encoder = build_encoder(config)
    params = encoder.init(jax.random.key(0), pixels)["params"]

    def loss(dtype):
        module = build_encoder(config, dtype=dtype)
        return jax.value_and_grad(lambda p: jnp.square(module.apply({"params": p}, pixels)[1]).mean())(params)

    (value, gradient), (half, half_gradient) = loss(jnp.float32), loss(jnp.bfloat16)
    np.testing.assert_allclose(half, value, rtol=2e-2)
    flat, half_flat = (jax.flatten_util.ravel_pytree(tree)[0] for tree in (gradient, half_gradient))
    assert half_flat.dtype == jnp.float32
    assert jnp.linalg.norm(flat - half_flat) < 0.05 * jnp.linalg.norm(flat)


def test_remat_changes_no_gradient(pixels):
    config = {**VIT, "hidden_dropout_prob": 0.1}
    params = build_encoder(config).init(jax.random.key(0), pixels)["params"]

    def gradient(remat):
        def loss(p):
            sequence, _ = build_encoder(config, remat=remat).apply(
                {"params": p}, pixels, deterministic=False, rngs={"dropout": jax.random.key(1)}
            )
            return jnp.square(sequence).mean()

        return jax.grad(loss)(params)

    for plain, again in zip(jax.tree.leaves(gradient(False)), jax.tree.leaves(gradient(True)), strict=True):
        np.testing.assert_allclose(plain, again, rtol=1e-5, atol=1e-7)


def test_dropout_works_in_training_only(pixels):
    encoder = build_encoder({**VIT, "hidden_dropout_prob": 0.5})
    params = encoder.init(jax.random.key(0), pixels)["params"]

    def pooled(deterministic, seed):
        rngs = {"dropout": jax.random.key(seed)}
        return encoder.apply({"params": params}, pixels, deterministic=deterministic, rngs=rngs)[1]

    np.testing.assert_array_equal(pooled(True, 0), pooled(True, 1))
    assert np.abs(np.asarray(pooled(False, 0) - pooled(False, 1))).max() > 1e-3


def test_images_of_another_size_are_refused(pixels):
    encoder = build_encoder({**VIT, "image_size": 24})
    with pytest.raises(ValueError, match=r"\(16, 16, 3\), the encoder's image_size wants \(24, 24, 3\)"):
        encoder.init(jax.random.key(0), pixels)


@pytest.mark.parametrize(
    ("config", "role", "message"),
    [
        ({**VIT, "hidden_act": "swish"}, None, "hidden_act = 'swish'"),
        ({**VIT, "num_channels": 1}, None, "num_channels = 1"),
        ({"model_type": "swin"}, None, "model_type = 'swin'"),
        (VIT, "audio", "encodes vision"),
        ({"model_type": "clip"}, None, "role must be one of"),
    ],
)
def test_what_cannot_be_honoured_is_refused(config, role, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(config, role)


def test_heads_must_divide_the_width(pixels):
    with pytest.raises(ValueError, match="num_attention_heads = 3 does not divide hidden_size = 16"):
        build_encoder({**VIT, "num_attention_heads": 3}).init(jax.random.key(0), pixels)
