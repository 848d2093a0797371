"""The image encoders against PyTorch, and guarantees beyond PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from emi_jax.encoders.registry import build_encoder
from tests.golden.compare import assert_agrees
from tests.golden.make import CASES, make_inputs, make_model, run_torch
from tests.modules import DROPOUT, random_params, run

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "patch_size": 8}
VIT = {"model_type": "vit", **SMALL, "image_size": 16}
CLIP = {"model_type": "clip_vision_model", **SMALL, "image_size": 16}
SIGLIP = {"model_type": "siglip_vision_model", **SMALL, "image_size": 16}
DINOV2 = {"model_type": "dinov2_with_registers", **SMALL, "image_size": 16, "mlp_ratio": 2, "use_swiglu_ffn": True}


@pytest.fixture
def pixels():
    return np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.role == "vision"])
def test_equals_pytorch(name, tmp_path):
    pytest.importorskip("torch")
    model, arrays = make_model(CASES[name], seed=1), make_inputs(CASES[name], seed=1)
    model.save_pretrained(tmp_path)
    assert_agrees(tmp_path, "vision", arrays, run_torch(model, **arrays))


def test_without_a_pooler_the_class_token_is_pooled(pixels):
    encoder = build_encoder({**VIT, "add_pooling_layer": False})
    params = random_params(encoder, pixels)
    _, pooled, states = run(encoder, params, pixels, output_hidden_states=True)
    token = states[-1][:, 0]
    expected = (token - token.mean(-1, keepdims=True)) / np.sqrt(token.var(-1, keepdims=True) + 1e-12)
    expected = expected * params["final_norm"]["scale"] + params["final_norm"]["bias"]
    np.testing.assert_allclose(pooled, expected, atol=1e-5)
    assert "pooler" not in params


@pytest.mark.parametrize("config", [VIT, CLIP, SIGLIP, DINOV2], ids=["vit", "clip", "siglip", "dinov2"])
def test_a_patch_of_the_picture_moves_with_its_token(config, pixels):
    """The second patch of the first row is token 1 of the sequence (class token and registers left out)."""
    encoder = build_encoder({**config, "num_hidden_layers": 0})
    params = random_params(encoder, pixels)
    changed = pixels.copy()
    changed[:, :8, 8:] += np.random.default_rng(1).normal(size=(2, 8, 8, 3))
    before, _ = run(encoder, params, pixels)
    after, _ = run(encoder, params, changed)
    difference = np.abs(before - after).max((0, 2))
    np.testing.assert_array_equal(difference > 0, [False, True, False, False])


@pytest.mark.parametrize("config", [VIT, CLIP, SIGLIP, DINOV2], ids=["vit", "clip", "siglip", "dinov2"])
def test_bfloat16_is_close_to_float32(config, pixels):
    encoder = build_encoder(config)
    params = random_params(encoder, pixels)

    def loss(dtype):
        module = build_encoder(config, dtype=dtype)
        return jax.jit(jax.value_and_grad(lambda p: jnp.square(module.apply({"params": p}, pixels)[1]).mean()))(params)

    (value, gradient), (half, half_gradient) = loss(jnp.float32), loss(jnp.bfloat16)
    np.testing.assert_allclose(half, value, rtol=2e-2)
    flat, half_flat = (ravel_pytree(tree)[0] for tree in (gradient, half_gradient))
    assert half_flat.dtype == jnp.float32
    assert jnp.linalg.norm(flat - half_flat) < 0.05 * jnp.linalg.norm(flat)


def test_remat_changes_no_gradient(pixels):
    config = {**VIT, "hidden_dropout_prob": 0.1}
    params = random_params(build_encoder(config), pixels)

    def gradient(remat):
        def loss(p):
            sequence, _ = build_encoder(config, remat=remat).apply(
                {"params": p}, pixels, deterministic=False, rngs=DROPOUT
            )
            return jnp.square(sequence).mean()

        return jax.jit(jax.grad(loss))(params)

    for plain, again in zip(jax.tree.leaves(gradient(False)), jax.tree.leaves(gradient(True)), strict=True):
        np.testing.assert_allclose(plain, again, rtol=1e-5, atol=1e-7)


def test_dropout_works_in_training_only(pixels):
    encoder = build_encoder({**VIT, "hidden_dropout_prob": 0.5})
    params = random_params(encoder, pixels)

    def pooled(deterministic, seed):
        return run(
            encoder,
            params,
            pixels,
            deterministic=deterministic,
            rngs={"dropout": jax.random.key(seed, impl="unsafe_rbg")},
        )[1]

    np.testing.assert_array_equal(pooled(True, 0), pooled(True, 1))
    assert np.abs(pooled(False, 0) - pooled(False, 1)).max() > 1e-3


def test_images_of_another_size_are_refused(pixels):
    encoder = build_encoder({**VIT, "image_size": 24})
    with pytest.raises(ValueError, match=r"\(16, 16, 3\), the encoder expects \(24, 24, 3\)"):
        random_params(encoder, pixels)


@pytest.mark.parametrize(
    ("config", "role", "message"),
    [
        ({**VIT, "hidden_act": "mish"}, None, "hidden_act = 'mish'"),
        ({**VIT, "num_channels": 1}, None, "num_channels = 1"),
        ({"model_type": "swin"}, None, "model_type = 'swin'"),
        (VIT, "audio", "encodes vision"),
        ({"model_type": "clip"}, None, "role must be one of"),
    ],
)
def test_unsupported_configs_are_refused(config, role, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(config, role)


def test_heads_must_divide_the_width(pixels):
    with pytest.raises(ValueError, match="hidden_size = 16 is not a multiple of num_attention_heads = 3"):
        random_params(build_encoder({**VIT, "num_attention_heads": 3}), pixels)
