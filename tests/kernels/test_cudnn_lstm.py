"""cuDNN's LSTM runs on GPUs alone: JAX's own reference of it takes its place here, and is compared with the scan."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.kernels import cudnn_lstm
from emi_jax.models.bilstm import bidirectional_lstm

rnn = pytest.importorskip("jax.experimental.rnn")

B, T, D, H = 4, 6, 3, 5
MASKS = np.array([[1] * T, [1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 1, 0], [0] * T], bool)
"""A whole clip, a short one, one with gaps, an empty one."""


@pytest.fixture
def on_cpu(monkeypatch):
    """JAX's `lstm_ref` in place of the kernel and of its gradient."""

    def reference(lengths, sizes):
        *shape, dropout, both, _ = sizes

        def run(x, h, c, weights):
            return rnn.lstm_ref(
                x, h, c, *rnn.unpack_lstm_weights(weights, *shape, both), lengths, *shape, dropout, both
            )

        return run

    def forward(x, h, c, weights, lengths, *sizes):
        return reference(lengths, sizes)(x, h, c, weights), (x, h, c, weights, lengths)

    def backward(*arguments):
        *sizes, (*inputs, lengths), cotangents = arguments
        return *jax.vjp(reference(lengths, sizes), *inputs)[1](cotangents), jnp.zeros_like(lengths)

    monkeypatch.setattr(rnn, "lstm_fwd", forward)
    monkeypatch.setattr(rnn, "lstm_bwd", backward)


def arguments(seeds=()):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((B, T, D)).astype(np.float32)
    shapes = (2, D, 4 * H), (2, H, 4 * H), (2, 4 * H)
    return x, [rng.standard_normal((*seeds, *shape)).astype(np.float32) for shape in shapes]


def gradients(form, x, *weights):
    def total(x, *weights):
        h = form(x, jnp.asarray(MASKS), *weights)
        return (h * jnp.cos(jnp.arange(h.size)).reshape(h.shape)).sum(), h

    return jax.grad(total, argnums=(0, 1, 2, 3), has_aux=True)(x, *weights)


@pytest.mark.parametrize("seeds", [(), (2,)])
def test_states_and_gradients_equal_those_of_the_scan(seeds, on_cpu):
    x, weights = arguments(seeds)

    def run(form):
        def one(*weights):
            return gradients(form, x, *weights)

        return jax.tree.leaves(jax.jit(jax.vmap(one) if seeds else one)(*weights))

    for ours, expected in zip(run(cudnn_lstm.bidirectional), run(bidirectional_lstm), strict=True):
        np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_it_is_available_on_nvidia_gpus_where_jax_binds_it(monkeypatch):
    gpu = types.SimpleNamespace(client=types.SimpleNamespace(platform_version="cuda 12090"), device_kind="a GPU")
    assert cudnn_lstm.unavailable([gpu]) == ""
    reason = cudnn_lstm.unavailable([gpu, *jax.devices("cpu")[:1]])
    assert reason == "cuDNN's LSTM runs on NVIDIA GPUs alone, and the device is cpu"
    monkeypatch.setattr(cudnn_lstm, "MODULE", "jax.experimental.no_such_module")
    assert cudnn_lstm.unavailable([gpu]).endswith("has no jax.experimental.no_such_module, which binds cuDNN's LSTM")
