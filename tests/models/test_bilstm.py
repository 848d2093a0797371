"""The gated BiLSTM against torch.nn.LSTM, a plain scan and NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.sharding import Mesh, PartitionSpec
from jax.test_util import check_grads

from emi_jax.models.bilstm import GatedBiLSTM, bidirectional_lstm

B, T, D, H = 4, 7, 5, 6
LENGTHS = np.array([7, 1, 4, 6])
MASK = np.arange(T)[None, :] < LENGTHS[:, None]


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(B, T, D)).astype(np.float32),
        "input_kernel": rng.normal(scale=0.5, size=(2, D, 4 * H)).astype(np.float32),
        "recurrent_kernel": rng.normal(scale=0.5, size=(2, H, 4 * H)).astype(np.float32),
        "bias": rng.normal(size=(2, 4 * H)).astype(np.float32),
    }


def run(inputs, mask=MASK, dtype=jnp.float32):
    return _RUN(mask=mask, dtype=dtype, **inputs)


def apply(module, *arguments, **options):
    return jax.jit(functools.partial(module.apply, **options))(*arguments)


def weighted_sum(outputs):
    return (outputs * jnp.cos(jnp.arange(outputs.size)).reshape(outputs.shape)).sum()


_RUN = jax.jit(bidirectional_lstm, static_argnames="dtype")


@functools.partial(jax.jit, static_argnums=2)
def gradients_of(inputs, mask=MASK, dtype=jnp.float32):
    return jax.grad(lambda inputs: weighted_sum(run(inputs, mask, dtype)))(inputs)


def torch_lstm(inputs):
    """torch.nn.LSTM with the same weights: rows for columns, and the second of its two biases held at zero."""
    lstm = torch.nn.LSTM(D, H, batch_first=True, bidirectional=True)
    parameters = {"input_kernel": "weight_ih", "recurrent_kernel": "weight_hh", "bias": "bias_ih"}
    with torch.no_grad():
        for n, suffix in enumerate(("_l0", "_l0_reverse")):
            for ours, theirs in parameters.items():
                getattr(lstm, theirs + suffix).copy_(torch.tensor(inputs[ours][n].T.copy()))
            getattr(lstm, "bias_hh" + suffix).zero_()
    x = torch.tensor(inputs["x"], requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    outputs, _ = torch.nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=T)
    (outputs * torch.cos(torch.arange(outputs.numel())).reshape(outputs.shape)).sum().backward()
    gradients = {
        ours: np.stack([getattr(lstm, theirs + suffix).grad.numpy().T for suffix in ("_l0", "_l0_reverse")])
        for ours, theirs in parameters.items()
    }
    assert x.grad is not None
    return outputs.detach().numpy(), gradients | {"x": x.grad.numpy()}


def plain_lstm(inputs, mask):
    """One direction and one step at a time, with sigmoids, differentiated by JAX."""
    x, input_kernel, recurrent_kernel, bias = (inputs[k] for k in ("x", "input_kernel", "recurrent_kernel", "bias"))
    outputs = []
    for n, order in enumerate((range(x.shape[1]), reversed(range(x.shape[1])))):
        h = c = jnp.zeros((x.shape[0], recurrent_kernel.shape[1]), x.dtype)
        states = {}
        for t in order:
            z = x[:, t] @ input_kernel[n] + h @ recurrent_kernel[n] + bias[n][None, :]
            i, f, g, o = jnp.split(z, 4, axis=-1)
            new_c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            valid = mask[:, t, None]
            h = jnp.where(valid, jax.nn.sigmoid(o) * jnp.tanh(new_c), h)
            c = jnp.where(valid, new_c, c)
            states[t] = jnp.where(valid, h, 0)
        outputs.append(jnp.stack([states[t] for t in range(x.shape[1])], axis=1))
    return jnp.concatenate(outputs, axis=-1)


_PLAIN = jax.jit(plain_lstm)
_PLAIN_GRADIENTS = jax.jit(jax.grad(lambda inputs, mask: weighted_sum(plain_lstm(inputs, mask))))


def random_variables(module, x):
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x, MASK)
    return jax.tree.map(lambda w: rng.normal(scale=0.5, size=w.shape).astype(np.float32), shapes)


def test_outputs_and_gradients_equal_torchs(inputs):
    expected, expected_gradients = torch_lstm(inputs)
    np.testing.assert_allclose(run(inputs), expected, atol=2e-6)
    gradients = gradients_of(inputs)
    for name, gradient in expected_gradients.items():
        np.testing.assert_allclose(gradients[name], gradient, atol=2e-5)


@pytest.mark.parametrize("mask", [MASK, ~MASK, np.zeros_like(MASK), np.arange(T)[None, :] % 3 != np.arange(B)[:, None]])
def test_equals_steps_written_out_for_any_mask(inputs, mask):
    np.testing.assert_allclose(run(inputs, mask), _PLAIN(inputs, mask), atol=1e-6)
    gradients = gradients_of(inputs, mask)
    expected = _PLAIN_GRADIENTS(inputs, mask)
    for name in inputs:
        np.testing.assert_allclose(gradients[name], expected[name], atol=1e-5)


def test_gradients_equal_finite_differences(inputs):
    check_grads(lambda inputs: run(inputs), (inputs,), order=1, modes=["rev"], atol=2e-2, rtol=2e-2, eps=1e-2)


def test_masked_steps_have_no_influence(inputs):
    garbage = inputs | {"x": np.where(MASK[..., None], inputs["x"], 1e6).astype(np.float32)}
    np.testing.assert_array_equal(run(garbage), run(inputs))
    gradient = gradients_of(garbage)
    np.testing.assert_array_equal(gradient["x"][~MASK], 0)
    longer = inputs | {"x": np.pad(inputs["x"], ((0, 0), (0, 3), (0, 0)))}
    padded = run(longer, np.pad(MASK, ((0, 0), (0, 3))))
    np.testing.assert_allclose(padded[:, :T], run(inputs), atol=1e-6)
    np.testing.assert_array_equal(padded[:, T:], 0)


def test_vmap_over_seeds_equals_each_seed_alone(inputs):
    seeds = jax.tree.map(lambda w: np.stack([w, 0.5 * w, -w]), inputs)
    mapped = jax.jit(jax.vmap(gradients_of))(seeds)
    for seed in range(3):
        alone = gradients_of({k: w[seed] for k, w in seeds.items()})
        for name in inputs:
            np.testing.assert_allclose(mapped[name][seed], alone[name], atol=1e-5)


def over_devices(kind, step, weights, *data):
    """The step's first result on two devices."""
    if kind == "pmap":
        halves = [a.reshape(2, B // 2, *a.shape[1:]) for a in data]
        mapped = jax.pmap(step, "data", in_axes=(None, 0, 0), devices=jax.devices()[:2])
        return jax.tree.map(lambda g: g[0], mapped(weights, *halves))
    mesh, shared, split = Mesh(np.array(jax.devices()[:2]), ("data",)), PartitionSpec(), PartitionSpec("data")
    specs = (shared, split, split)
    return jax.jit(jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=shared, check_vma=kind == "checked"))(
        weights, *data
    )


@pytest.mark.parametrize("kind", ["pmap", "shard_map", "checked"])
def test_devices_agree_with_one(inputs, kind):
    """The gradient rule: a loss reduced over the devices, gradients averaged."""
    x = inputs.pop("x")

    def squares(weights, x, mask):
        return jnp.square(run(weights | {"x": x}, mask)).sum()

    def step(weights, x, mask):
        gradients = jax.grad(lambda weights: jax.lax.psum(squares(weights, x, mask), "data"))(weights)
        return jax.lax.pmean(gradients, "data")

    gradients = over_devices(kind, step, inputs, x, MASK)
    expected = jax.jit(jax.grad(squares))(inputs, x, MASK)
    for name in inputs:
        np.testing.assert_allclose(gradients[name], expected[name], atol=1e-5)


def test_bfloat16_operands_float32_states(inputs):
    exact, rounded = run(inputs), run(inputs, dtype=jnp.bfloat16)
    assert rounded.dtype == jnp.float32
    assert 0 < np.abs(rounded - exact).max() < 0.05
    gradients = gradients_of(inputs, MASK, jnp.bfloat16)
    expected = gradients_of(inputs)
    for name, gradient in gradients.items():
        assert gradient.dtype == jnp.float32
        np.testing.assert_allclose(gradient, expected[name], atol=0.05 * np.abs(expected[name]).max())


@pytest.mark.parametrize("gate", [True, False])
def test_the_gate_equals_its_formula(inputs, gate):
    module = GatedBiLSTM(H, gate=gate)
    x = inputs["x"]
    variables = random_variables(module, x)
    p = variables["params"]
    h = np.asarray(run({k: p[k] for k in ("input_kernel", "recurrent_kernel", "bias")} | {"x": x}))
    expected = h @ p["output"]["kernel"] + p["output"]["bias"]
    if gate:
        z = np.concatenate([x, h], -1) @ p["gate"]["kernel"] + p["gate"]["bias"]
        g = 1 / (1 + np.exp(-z))
        expected = g * expected + (1 - g) * x
    else:
        assert "gate" not in p
    np.testing.assert_allclose(apply(module, variables, x, MASK), expected * MASK[..., None], atol=1e-5)


def test_initial_weights(inputs):
    p = jax.jit(GatedBiLSTM(H).init)(jax.random.key(0), inputs["x"], MASK)["params"]
    np.testing.assert_array_equal(p["bias"], np.repeat([[0, 1, 0, 0]] * 2, H, axis=1))
    for direction in p["recurrent_kernel"]:
        for gate in np.split(np.asarray(direction), 4, axis=1):
            np.testing.assert_allclose(gate @ gate.T, np.eye(H), atol=1e-5)
    assert np.std(p["input_kernel"]) == pytest.approx(D**-0.5, rel=0.2)


def test_dropout_only_in_training(inputs):
    module = GatedBiLSTM(H, dropout=0.5)
    variables = random_variables(module, inputs["x"])
    still, again = (apply(module, variables, inputs["x"], MASK) for _ in range(2))
    moving = apply(module, variables, inputs["x"], MASK, deterministic=False, rngs={"dropout": jax.random.key(1)})
    np.testing.assert_array_equal(still, again)
    assert np.abs(still - moving).max() > 1e-3
