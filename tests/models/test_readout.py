"""What is read out of towers: mixes of layers and learned pooling, against NumPy in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.encoders.registry import build_encoder
from emi_jax.models.pooling import AttentionPooling
from emi_jax.models.readout import LayerMix, Readout, choose, parse_layers, readouts_of
from emi_jax.models.towers import AudioTower, TextTower, Towers, VisionTower
from tests.modules import random_params, run

SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
VISION = build_encoder({"model_type": "vit", "image_size": 8, "patch_size": 4, **SMALL})
AUDIO = build_encoder(
    {
        "model_type": "wav2vec2",
        "conv_dim": (4,) * 4,
        "conv_kernel": (40, 8, 8, 8),
        "conv_stride": (20, 4, 4, 4),
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        **SMALL,
    }
)
TEXT = build_encoder({"model_type": "bert", "vocab_size": 20, **SMALL})
HALF = (0.5, 0.5, 0.5)


def softmax(x):
    weights = np.exp(x - x.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def mix(logits, states):
    """ELMo's mix of states [..., n, D], each normalised as by `torch.nn.functional.layer_norm`."""
    normalised = (states - states.mean(-1, keepdims=True)) / np.sqrt(states.var(-1, keepdims=True) + 1e-5)
    return (softmax(logits)[:, None] * normalised).sum(-2)


def attend(query, x, mask):
    scores = np.where(mask, x @ query / np.sqrt(len(query)), -np.inf)
    return (softmax(scores)[..., None] * x).sum(-2)


def slope(function, point, step=1e-5):
    """The gradient of a scalar function by central differences."""
    return np.array([(function(point + e) - function(point - e)) / (2 * step) for e in step * np.eye(len(point))])


@pytest.mark.parametrize("name", ["mix", "attention"])
def test_output_and_gradients_equal_numpy(name):
    rng = np.random.default_rng(0)
    x, weights = rng.normal(2, 3, (4, 5, 6)), rng.normal(size=(4, 6))
    mask = np.arange(5) < np.array([[5], [2], [1], [4]])
    module, point, leaf, reference = {
        "mix": (LayerMix(), rng.normal(size=5), "layer_logits", lambda point: mix(point, x)),
        "attention": (AttentionPooling(), rng.normal(size=6), "query", lambda point: attend(point, x, mask)),
    }[name]
    arguments = (x.astype(np.float32), mask)[: 1 if name == "mix" else 2]

    def apply(params, *arguments):
        return module.apply({"params": params}, *arguments)

    params = {leaf: point.astype(np.float32)}
    np.testing.assert_allclose(jax.jit(apply)(params, *arguments), reference(point), rtol=2e-5, atol=2e-5)
    gradient = jax.jit(jax.grad(lambda params: (weights * apply(params, *arguments)).sum()))(params)[leaf]
    np.testing.assert_allclose(gradient, slope(lambda p: (weights * reference(p)).sum(), point), rtol=1e-3, atol=1e-4)


def test_all_layers_and_all_steps_count_alike_at_the_start():
    x = np.random.default_rng(0).normal(size=(3, 4, 6)).astype(np.float32)
    for module, expected in ((LayerMix(), mix(np.zeros(4), x)), (AttentionPooling(), x.mean(1))):
        y, _ = jax.jit(module.init_with_output)(jax.random.key(0), x)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def test_attention_ignores_padding_and_is_zero_without_valid_steps():
    rng = np.random.default_rng(0)
    x, query = rng.normal(size=(2, 5, 6)).astype(np.float32), rng.normal(size=6).astype(np.float32)
    mask = np.array([[True, True, True, False, False], [False] * 5])
    other = np.where(mask[..., None], x, 1e6)

    @jax.jit
    def pool(x):
        return AttentionPooling().apply({"params": {"query": query}}, x, mask)

    np.testing.assert_array_equal(pool(x), pool(other))
    np.testing.assert_array_equal(pool(x)[1], np.zeros(6))
    assert np.isfinite(jax.grad(lambda x: pool(x).sum())(jnp.asarray(other))).all()


def test_hidden_states_are_chosen_by_number():
    states = tuple(np.full((2, 3), number) for number in range(5))
    assert choose(states, "mix")[0, :, 0].tolist() == [0, 1, 2, 3, 4]
    assert choose(states, (3, -1))[0, :, 0].tolist() == [3, 4]
    for layers, message in (((5,), "the encoder has the hidden states 0 to 4"), ((4, -1), "is named twice")):
        with pytest.raises(ValueError, match=message):
            choose(states, layers)
    assert [parse_layers(text) for text in ("last", "mix", "4,8,-1")] == ["last", "mix", (4, 8, -1)]
    with pytest.raises(ValueError, match="layers='first': expected last, mix, or numbers"):
        parse_layers("first")


@pytest.mark.parametrize("layers", ["last", (1, 2)])
@pytest.mark.parametrize("pooling", ["class", "mean", "attention"])
def test_a_frame_is_pooled_from_its_class_token_or_patches(layers, pooling):
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    tower, mask = VisionTower(VISION, HALF, HALF, layers, pooling), np.ones((2, 3), bool)
    params = random_params(tower, frames, mask)
    states, _, _ = run(tower, params, frames, mask)
    pixels = (frames.reshape(6, 8, 8, 3) / 255.0 - 0.5) / 0.5
    patches, token, hidden = run(VISION, params["encoder"], pixels, output_hidden_states=True)
    if layers != "last":
        chosen = np.stack([hidden[number] for number in layers], axis=2)
        token, patches = chosen[:, 0], chosen[:, 1:]
    expected = {"class": token, "mean": patches.mean(1), "attention": patches}[pooling]
    np.testing.assert_allclose(states, expected.reshape(2, 3, *expected.shape[1:]), rtol=1e-5, atol=1e-5)
    readouts = readouts_of(Towers(vision=tower))
    assert readouts.names == (["vision"] if layers != "last" or pooling == "attention" else [])
    if readouts.names:
        inputs = {"vision": (states, mask)}
        found, _ = readouts.init_with_output(jax.random.key(0), inputs, method="vectors")
        over_layers = mix(np.zeros(2), np.asarray(states, np.float64)) if layers != "last" else np.asarray(states)
        steps = over_layers.mean(2) if pooling == "attention" else over_layers
        np.testing.assert_allclose(found["vision"], steps.mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tower", [AudioTower(AUDIO, True, (0, 2), "mean"), TextTower(TEXT, (0, 2), "mean")])
def test_layers_of_voice_and_words_are_the_encoders_hidden_states(tower):
    rng = np.random.default_rng(0)
    if isinstance(tower, AudioTower):
        x, mask = rng.integers(-9000, 9000, (2, 8000)).astype(np.int16), np.arange(8000) < np.array([[8000], [5000]])
    else:
        x, mask = rng.integers(1, 20, (2, 6)), np.arange(6) < np.array([[6], [4]])
    params = random_params(tower, x, mask)
    states, clip, steps = run(tower, params, x, mask)
    if isinstance(tower, AudioTower):
        x = x / 32768.0
        mean, std = (np.array([[f(row[valid])] for row, valid in zip(x, mask, strict=True)]) for f in (np.mean, np.std))
        x = np.where(mask, (x - mean) / np.sqrt(std**2 + 1e-7), 0)
    *_, hidden = run(tower.encoder, params["encoder"], x, mask, output_hidden_states=True)
    np.testing.assert_allclose(states[:, :, 0], hidden[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(states[:, :, 1], hidden[2], rtol=1e-3, atol=1e-4)
    for row in range(2):
        np.testing.assert_allclose(clip[row], states[row][steps[row]].mean(0), rtol=1e-4, atol=1e-5)


def test_a_readout_has_the_parameters_of_what_it_computes():
    states = jnp.ones((2, 3, 4, 5))
    init = functools.partial(Readout(mixes=True, pools_clips=True).init, method="steps")
    params = jax.eval_shape(init, jax.random.key(0), states)["params"]
    assert jax.tree.map(jnp.shape, params) == {"mix": {"layer_logits": (4,)}}
