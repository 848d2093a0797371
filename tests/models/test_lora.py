"""LoRA against NumPy in float64, and merged against unmerged towers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from emi_jax.encoders.registry import build_encoder
from emi_jax.models.contrastive import ContrastiveModel
from emi_jax.models.dense import Dense
from emi_jax.models.lora import Lora, factors_of
from emi_jax.models.towers import TextTower, Towers, VisionTower
from tests.modules import run

SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
QUERIES = Lora((r"/attention/query/kernel$",), rank=2, alpha=6.0)
EVERYTHING = Lora(("^towers/",), rank=3, alpha=4.0)


def make_towers(lora, remat=False):
    text = build_encoder({"model_type": "bert", "vocab_size": 20, **SMALL}, remat=remat)
    vision = build_encoder({"model_type": "vit", "image_size": 8, "patch_size": 4, **SMALL}, remat=remat)
    return Towers(vision=VisionTower(vision, (0.5,) * 3, (0.5,) * 3), text=TextTower(text), lora=lora)


def make_batch(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "tokens": rng.integers(1, 20, (3, 5)),
        "token_mask": np.arange(5) < np.array([[5], [2], [4]]),
        "frames": rng.integers(0, 256, (3, 2, 8, 8, 3), dtype=np.uint8),
        "frame_mask": np.ones((3, 2), bool),
    }


def random_params(module, batch, seed=1):
    """Parameters none of which has its initial value."""
    rng = np.random.default_rng(seed)
    params = jax.eval_shape(module.init, jax.random.key(0), batch)["params"]
    return jax.tree.map(lambda leaf: 0.6 * rng.standard_normal(leaf.shape).astype(np.float32), params)


class Linear(nn.Module):
    """A linear layer where a tower would be."""

    lora: Lora

    @nn.compact
    def __call__(self, x, deterministic=True):
        with self.lora.around(self, deterministic):
            return Dense(4, name="text")(x)


def test_output_and_gradients_equal_numpy():
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(7, 6)), rng.normal(size=(7, 4))
    kernel, bias, a, b = (rng.normal(size=shape) for shape in ((6, 4), (4,), (6, 2), (2, 4)))
    params = {"text": {"kernel": kernel, "bias": bias, "lora_a": a, "lora_b": b}}
    params = jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
    module = Linear(Lora(("^towers/text/kernel$",), rank=2, alpha=6.0))

    def value(params):
        y = module.apply({"params": params}, x.astype(np.float32))
        return (weights * y).sum(), y

    (_, y), found = jax.jit(jax.value_and_grad(value, has_aux=True))(params)
    np.testing.assert_allclose(y, x @ kernel + bias + 3 * x @ a @ b, rtol=1e-4, atol=1e-4)
    expected = {
        "kernel": x.T @ weights,
        "bias": weights.sum(0),
        "lora_a": 3 * x.T @ weights @ b.T,
        "lora_b": 3 * (x @ a).T @ weights,
    }
    for name, gradient in expected.items():
        np.testing.assert_allclose(found["text"][name], gradient, rtol=1e-4, atol=1e-4, err_msg=name)


def test_at_the_start_nothing_changes():
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    y, params = jax.jit(Linear(Lora(("text",), rank=2, alpha=6.0)).init_with_output)(jax.random.key(0), x)
    text = params["params"]["text"]
    np.testing.assert_allclose(y, x @ np.asarray(text["kernel"]) + np.asarray(text["bias"]), rtol=1e-5, atol=1e-6)
    assert not text["lora_b"].any()
    assert 0.5 / 6**0.5 < np.abs(text["lora_a"]).max() <= 1 / 6**0.5


def test_dropout_is_of_the_updates_input_in_training_alone():
    x, rate = np.ones((2000, 6), np.float32), 0.25
    module = Linear(Lora(("text",), rank=2, alpha=2.0, dropout=rate))
    params = {"text": {"kernel": np.zeros((6, 4)), "bias": np.zeros(4), "lora_a": np.eye(6, 2), "lora_b": np.eye(2, 4)}}
    params = jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
    np.testing.assert_array_equal(module.apply({"params": params}, x)[:, :2], 1)
    dropped = module.apply({"params": params}, x, False, rngs={"dropout": jax.random.key(0)})[:, :2]
    assert set(np.unique(dropped)) == {0, np.float32(1 / (1 - rate))}
    np.testing.assert_allclose(dropped.mean(), 1, atol=0.03)


@pytest.mark.parametrize(("lora", "remat"), [(QUERIES, False), (EVERYTHING, True)])
def test_merged_towers_equal_unmerged_ones(lora, remat):
    towers, batch = make_towers(lora, remat), make_batch()
    params = random_params(towers, batch)
    found, merged = run(towers, params, batch), lora.merged(params)
    expected = run(make_towers(None, remat), merged, batch)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4), found, expected)
    plain = run(make_towers(None, remat), {n: _without(tower) for n, tower in params.items()}, batch)
    assert np.abs(found["text"][0] - plain["text"][0]).max() > 0.01
    gradients = jax.jit(jax.grad(lambda params: towers.apply({"params": params}, batch)["text"][0].sum()))(params)
    assert all(
        np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(factors_of(gradients["text"]["encoder"]["transformer"]))
    )


def _without(tower):
    flat = traverse_util.flatten_dict(tower)
    return traverse_util.unflatten_dict({path: leaf for path, leaf in flat.items() if "lora" not in path[-1]})


def test_only_the_targets_are_adapted_by_the_same_paths_in_both_stages():
    lora, batch = Lora((r"^towers/text/.*/layers_1/attention/(query|value)/kernel$",), 2, 2.0), make_batch()
    expected = {
        f"text/encoder/transformer/layers_1/attention/{name}/lora_{f}" for name in ("query", "value") for f in "ab"
    }
    towers = make_towers(lora)
    model = ContrastiveModel(towers, ("vision",), width=4)
    for params in (random_params(towers, batch), random_params(model, batch)["towers"]):
        assert set(traverse_util.flatten_dict(factors_of(params), sep="/")) == expected


def test_products_of_updates_are_rounded_to_the_compute_dtype():
    class Half(nn.Module):
        @nn.compact
        def __call__(self, x):
            with EVERYTHING.around(self, True):
                return Dense(4, dtype=jnp.bfloat16, name="text")(x)

    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    params = random_params(Half(), x)
    full = Linear(EVERYTHING).apply({"params": params}, x)
    half = Half().apply({"params": params}, x)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.05
