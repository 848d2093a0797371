"""The transformer's layers against independent formulas."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.kernels import attention
from emi_jax.models.rotary import Rotary, rotate
from emi_jax.models.transformer import MLP, Attention, Layer, Transformer, TransformerLayer
from tests.modules import DROPOUT, random_params, run

B, H, D = 3, 2, 8


def test_a_layer_drops_weights_and_keeps_their_mean():
    """The layer is linear in the weights after the softmax: over many draws the mean is the output without dropout."""
    module = Attention(Layer(num_heads=H, mlp_width=D, attention_dropout=0.4))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(B, 6, D)), jnp.float32)
    params = random_params(module, x)
    whole = run(module, params, x)
    draw = jax.vmap(lambda key: module.apply({"params": params}, x, None, False, rngs={"dropout": key}))
    draws = np.asarray(jax.jit(draw)(jax.random.split(jax.random.key(1), 4000)))
    assert draws.std(axis=0).min() > 0
    error = (draws.mean(axis=0) - whole) / (draws.std(axis=0) / len(draws) ** 0.5)
    assert abs(error).max() < 5


def test_attention_to_itself_is_attention_to_a_memory_that_equals_the_input():
    module = Attention(Layer(num_heads=H, mlp_width=D))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(B, 6, D)), jnp.float32)
    params = random_params(module, x)
    to_memory = jax.jit(lambda x, memory: module.apply({"params": params}, x, None, True, memory))
    np.testing.assert_allclose(run(module, params, x), to_memory(x, x), atol=1e-6)
    assert to_memory(x[:, :2], x).shape == (B, 2, D)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads = 3 does not divide the width 8"):
        Attention(Layer(num_heads=3, mlp_width=D)).init(jax.random.key(0), jnp.zeros((1, 2, D)))


def test_rotary_positions_turn_pairs_of_features_as_complex_numbers():
    theta, factor, width = 500.0, 1.5, 6
    x = np.random.default_rng(0).normal(size=(B, 40, H, width)).astype(np.float32)
    frequencies = theta ** (-np.arange(width // 2) / (width / 2)) / factor
    turned = (x[..., :3] + 1j * x[..., 3:]) * np.exp(1j * np.arange(40)[:, None] * frequencies)[:, None]
    expected = np.concatenate([turned.real, turned.imag], axis=-1)
    np.testing.assert_allclose(rotate(jnp.asarray(x), Rotary(theta, factor)), expected, atol=2e-5)


def test_rotary_attention_depends_on_distances_alone():
    module = Attention(Layer(num_heads=H, mlp_width=D, rotary=Rotary(100.0)))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, D)), jnp.float32)
    params = random_params(module, x)
    later = jnp.concatenate([jnp.zeros((1, 5, D)), x], axis=1)
    visible = jnp.arange(11)[None, None, None] >= 5
    moved = run(module, params, later, visible)[:, 5:]
    here = run(module, params, x)
    np.testing.assert_allclose(moved, here, atol=1e-5)
    reversed_order = run(module, params, x[:, ::-1])[:, ::-1]
    assert np.abs(reversed_order - here).max() > 1e-3


def test_rotary_positions_need_an_even_width():
    with pytest.raises(ValueError, match="heads are 3 wide"):
        rotate(jnp.zeros((1, 2, 1, 3)), Rotary(100.0))


def test_a_window_hides_steps_that_are_further_away():
    module = Attention(Layer(num_heads=H, mlp_width=D, window=2))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, D)), jnp.float32)
    params = random_params(module, x)
    jacobian = jax.jit(jax.jacobian(lambda x: module.apply({"params": params}, x)[0].sum(-1)))(x)[:, 0]
    reach = np.abs(jacobian).sum(-1) > 1e-7
    np.testing.assert_array_equal(reach, np.abs(np.subtract.outer(np.arange(8), np.arange(8))) <= 2)
    every, without = run(module, params, x), run(module, params, x, np.arange(8)[None, None, None] != 3)
    np.testing.assert_allclose(without[:, 6:], every[:, 6:], atol=1e-6)  # steps 6 and 7 do not see step 3 anyway
    assert np.abs(without - every)[:, 1:6].max(-1).min() > 1e-5


def test_a_gated_mlp_multiplies_the_activated_gate_by_the_hidden_layer():
    module = MLP(Layer(num_heads=H, mlp_width=5, activation="relu", gated=True, hidden_bias=False))
    x = np.random.default_rng(0).normal(size=(B, 6, D)).astype(np.float32)
    params = random_params(module, x, True)
    assert {name: set(leaves) for name, leaves in params.items()} == {
        "gate": {"kernel"},
        "hidden": {"kernel"},
        "output": {"kernel", "bias"},
    }
    gate, hidden = (np.asarray(params[name]["kernel"]) for name in ("gate", "hidden"))
    expected = np.maximum(x @ gate, 0) * (x @ hidden) @ params["output"]["kernel"] + params["output"]["bias"]
    np.testing.assert_allclose(run(module, params, x, deterministic=True), expected, atol=1e-4)


def test_layer_scale_multiplies_what_is_added_to_the_residual():
    layer = Layer(num_heads=H, mlp_width=5)
    x = np.random.default_rng(0).normal(size=(B, 6, D)).astype(np.float32)
    scaled = Transformer((dataclasses.replace(layer, layer_scale=0.1),))
    params = random_params(scaled, x)
    factors = {name: params["layers_0"].pop(f"{name}_scale")["layer_scale"] for name in ("attention", "mlp")}
    folded = jax.tree.map(np.copy, params)
    for name, factor in factors.items():
        output = folded["layers_0"][name]["output"]
        output["kernel"], output["bias"] = output["kernel"] * factor, output["bias"] * factor
    params["layers_0"] |= {f"{name}_scale": {"layer_scale": factor} for name, factor in factors.items()}
    expected, _ = run(Transformer((layer,)), folded, x)
    np.testing.assert_allclose(run(scaled, params, x)[0], expected, atol=1e-4)
    initial = jax.jit(scaled.init)(jax.random.key(0), x)["params"]["layers_0"]["mlp_scale"]["layer_scale"]
    np.testing.assert_array_equal(initial, np.full(D, 0.1, np.float32))


def test_drop_path_skips_whole_examples_in_training():
    module = Transformer((Layer(num_heads=H, mlp_width=5, drop_path=0.5),))
    x = np.random.default_rng(0).normal(size=(64, 2, D)).astype(np.float32)
    params = random_params(module, x)
    y, _ = run(module, params, x, deterministic=False, rngs=DROPOUT)
    changed = (y != x).any(2)
    np.testing.assert_array_equal(changed[:, 0], changed[:, 1])
    assert 0.6 < changed[:, 0].mean() < 0.9  # 1 - 0.5 ** 2 of the examples
    always, _ = run(module, params, x)
    assert (always != x).any(2).all()


def test_layers_of_a_transformer_may_differ():
    plain = Layer(num_heads=H, mlp_width=D, qkv_bias=False, output_bias=False, norm_bias=False, hidden_bias=False)
    first = dataclasses.replace(plain, attention_norm=False, window=1)
    module = Transformer((first, plain))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, D)), jnp.float32)
    params = random_params(module, x)
    assert set(params["layers_0"]) == {"attention", "mlp_norm", "mlp"}
    assert set(params["layers_1"]) == {"attention_norm", "attention", "mlp_norm", "mlp"}
    assert not [path for path, _ in jax.tree_util.tree_leaves_with_path(params) if path[-1].key == "bias"]


@pytest.mark.parametrize(
    ("rates", "dropped"),
    [
        ({"dropout": 0.5}, {"attention", "mlp"}),
        ({"dropout": 0.5, "attention_output_dropout": 0.0}, {"mlp"}),
        ({"attention_output_dropout": 0.5}, {"attention"}),
    ],
)
def test_dropout_after_the_attention_may_differ_from_that_after_the_mlp(rates, dropped):
    module = TransformerLayer(Layer(num_heads=H, mlp_width=D, **rates))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(B, 6, D)), jnp.float32)
    params = jax.jit(module.init, static_argnums=(2, 3))(jax.random.key(0), x, None, True)["params"]
    apply = jax.jit(module.apply, static_argnums=(2, 3))
    for name in ("attention", "mlp"):
        other = {"attention": "mlp", "mlp": "attention"}[name]
        silenced = {**params, other: jax.tree.map(jnp.zeros_like, params[other])}
        without = apply({"params": silenced}, x, None, True)
        trained = apply({"params": silenced}, x, None, False, rngs=DROPOUT)
        assert (np.abs(trained - without).max() > 1e-3) == (name in dropped)


@pytest.mark.parametrize("length", [6, 7])
@pytest.mark.parametrize("kind", [None, "keys", "causal"])
def test_an_odd_number_of_steps_is_made_even_for_cudnn(length, kind, monkeypatch):
    """The kernel runs on GPUs alone: JAX's plain attention replaces it."""
    plain, lengths = jax.nn.dot_product_attention, []

    def kernel(query, key, value, *, mask=None, key_value_seq_lengths=None, implementation):
        lengths.append(query.shape[1])
        return plain(query, key, value, mask=mask, key_value_seq_lengths=key_value_seq_lengths)

    monkeypatch.setattr(attention.jax.nn, "dot_product_attention", kernel)
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(B, length, D)), jnp.float32)
    weight = rng.normal(size=x.shape).astype(np.float32)
    valid = np.arange(length) < np.array([[length], [3], [1]])
    mask = {"keys": valid[:, None, None], "causal": np.tril(np.ones((1, 1, length, length), bool))}.get(kind)

    def gradients(implementation):
        layer = Layer(num_heads=H, mlp_width=2 * D, attention_implementation=implementation)
        module = Transformer((layer, layer))
        params = random_params(module, x)

        def total(params, x):
            last, states = module.apply({"params": params}, x, mask)
            assert all(state.shape == x.shape for state in (last, *states))
            return sum((state * weight * valid[..., None]).sum() for state in states)

        return jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(params, x)

    expected = gradients("xla")
    assert not lengths
    chex.assert_trees_all_close(gradients("cudnn"), expected, atol=2e-4, rtol=2e-4)
    assert set(lengths) == {length + length % 2}
