"""The decoder against PyTorch, and the memory that it reads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from emi_jax.models.decoder import Decoder, Memory, Pooled, sinusoids

B, S, D, K, HEADS = 3, 7, 8, 5, 2
MASK = np.arange(S)[None, :] < np.array([7, 1, 4])[:, None]


def apply(module, *arguments, **options):
    return jax.jit(functools.partial(module.apply, **options))(*arguments)


@pytest.fixture
def memory():
    return np.random.default_rng(0).normal(size=(B, S, D)).astype(np.float32)


def random_variables(module, *inputs):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *inputs)
    return jax.tree.map(lambda w: rng.normal(scale=0.5, size=w.shape).astype(np.float32), shapes)


def torch_decoder(params, memory, bias):
    """A pre-norm decoder written out; bias [B, S] holds -inf for what is masked."""
    p = jax.tree.map(lambda w: torch.tensor(np.asarray(w)), params)

    def dense(weights, x):
        return x @ weights["kernel"] + weights["bias"]

    def norm(weights, x):
        return F.layer_norm(x, (D,), weights["scale"], weights["bias"], eps=1e-6)

    def attention(weights, x, memory, bias=None):
        heads = [
            dense(weights[n], y).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for n, y in (("query", x), ("key", memory), ("value", memory))
        ]
        logits = heads[0] @ heads[1].transpose(2, 3) / (D // HEADS) ** 0.5
        if bias is not None:
            logits = logits + bias[:, None, None, :]
        return dense(weights["output"], (logits.softmax(-1) @ heads[2]).transpose(1, 2).flatten(2))

    x = p["queries"].expand(B, K, D)
    for n in range(2):
        layer = p[f"layers_{n}"]
        y = norm(layer["self_norm"], x)
        x = x + attention(layer["self_attention"], y, y)
        x = x + attention(layer["cross_attention"], norm(layer["cross_norm"], x), memory, bias)
        y = dense(layer["mlp"]["hidden"], norm(layer["mlp_norm"], x))
        x = x + dense(layer["mlp"]["output"], F.gelu(y))
    return (norm(p["norm"], x) * p["kernel"]).sum(-1) + p["bias"]


@pytest.mark.parametrize("biased", [False, True])
def test_logits_and_gradients_equal_torchs(memory, biased):
    module = Decoder(K, num_heads=HEADS)
    log_weights = np.random.default_rng(2).normal(size=(B, S)).astype(np.float32) if biased else None
    variables = random_variables(module, memory, MASK, log_weights)
    bias = torch.where(torch.tensor(MASK), torch.tensor(log_weights) if biased else 0.0, -torch.inf)
    inputs = torch.tensor(memory, requires_grad=True)
    expected = torch_decoder(variables["params"], inputs, bias)
    (gradient,) = torch.autograd.grad(expected.square().sum(), inputs)
    np.testing.assert_allclose(apply(module, variables, memory, MASK, log_weights), expected.detach(), atol=2e-5)
    ours = jax.jit(jax.grad(lambda x: jnp.square(apply(module, variables, x, MASK, log_weights)).sum()))(memory)
    np.testing.assert_allclose(ours, gradient, atol=1e-3)
    np.testing.assert_array_equal(ours[~MASK], 0)


def test_halving_the_memory_changes_the_logits(memory):
    """A decoder that normalised its memory could not see the quality weights."""
    module = Decoder(K, num_heads=HEADS)
    variables = jax.jit(module.init)(jax.random.key(0), memory, MASK)
    whole, half = (apply(module, variables, x, MASK) for x in (memory, memory / 2))
    assert np.abs(whole - half).max() > 0.01


def test_bfloat16_with_a_float32_bias(memory):
    log_weights = np.linspace(-3, 0, B * S, dtype=np.float32).reshape(B, S)
    exact, rounded = (Decoder(K, num_heads=HEADS, dtype=dtype) for dtype in (jnp.float32, jnp.bfloat16))
    variables = jax.jit(exact.init)(jax.random.key(0), memory, MASK, log_weights)
    logits = apply(rounded, variables, memory, MASK, log_weights)
    assert logits.dtype == jnp.float32
    difference = np.abs(logits - apply(exact, variables, memory, MASK, log_weights)).max()
    assert 0 < difference < 0.1


def test_dropout_and_heads(memory):
    module = Decoder(K, num_heads=HEADS, dropout=0.5)
    variables = jax.jit(module.init)(jax.random.key(0), memory, MASK)
    noisy = apply(module, variables, memory, MASK, deterministic=False, rngs={"dropout": jax.random.key(1)})
    assert np.abs(noisy - apply(module, variables, memory, MASK)).max() > 1e-3
    with pytest.raises(ValueError, match="num_heads = 3 does not divide the width 8"):
        Decoder(K, num_heads=3).init(jax.random.key(0), memory, MASK)


def test_the_memory_is_a_token_and_the_placed_features(memory):
    features = {"vision": memory, "text": memory[:, :2] - 1}
    masks = {"vision": MASK, "text": MASK[:, 1:3]}
    rng = np.random.default_rng(3)
    positions = {
        "vision": np.sort(rng.uniform(0, 40, (B, S))).astype(np.float32),
        "text": np.ones((B, 2), np.float32),
    }
    variables = random_variables(Memory(), features, masks, positions)
    # Not jitted: a dict that passes through jit comes out sorted.
    joined, mask = Memory().apply(variables, features, masks, positions)
    p = variables["params"]
    np.testing.assert_allclose(joined[:, 0], np.broadcast_to(p["token"][0], (B, D)))
    np.testing.assert_array_equal(mask, np.concatenate([np.ones((B, 1)), MASK, MASK[:, 1:3]], axis=1))
    for b, t in np.ndindex(B, S):
        angles = positions["vision"][b, t] / 10000 ** (2 * np.arange(D // 2) / D)
        place = p["vision_embedding"][0, 0] + p["position_scale"] * np.concatenate([np.sin(angles), np.cos(angles)])
        np.testing.assert_allclose(joined[b, 1 + t], memory[b, t] + place, atol=1e-5)
    np.testing.assert_allclose(
        joined[:, -1] - joined[:, -2] - (features["text"][:, 1] - features["text"][:, 0]),
        np.zeros((B, D)),  # both words are at one moment
        atol=1e-5,
    )


@pytest.mark.parametrize("width", [1, 7, 8])
def test_sinusoids_of_any_length_and_width(width):
    positions = np.linspace(0, 5000, 601, dtype=np.float32)
    table = np.asarray(sinusoids(jnp.asarray(positions), width))
    assert table.shape == (601, width)
    rates = 10000 ** (-2 * np.arange((width + 1) // 2) / width)
    angles = positions[:, None].astype(np.float64) * rates
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :width]
    np.testing.assert_allclose(table, expected, atol=5e-4)  # angles of thousands, in float32


def test_pooled_equals_an_mlp_over_masked_means(memory):
    features, masks = {"vision": memory, "text": memory[:, ::-1]}, {"vision": MASK, "text": MASK[:, ::-1] & False}
    module = Pooled(K, 4)
    variables = random_variables(module, features, masks)
    p = variables["params"]
    means = [memory[b][MASK[b]].mean(0) for b in range(B)]
    z = np.concatenate([means, np.zeros((B, D))], axis=1) @ p["hidden"]["kernel"] + p["hidden"]["bias"]
    hidden = F.gelu(torch.tensor(z)).numpy()
    expected = hidden @ p["output"]["kernel"] + p["output"]["bias"]
    np.testing.assert_allclose(np.asarray(module.apply(variables, features, masks)), expected, atol=1e-5)
