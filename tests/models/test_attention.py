"""The attention kernels: what cuDNN's is given is worth the same, and it is asked for where it can be had alone."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.encoders.attention_choice import choose_attention
from emi_jax.errors import UserError
from emi_jax.models import attention
from emi_jax.models.transformer import Attention, Layer

B, H, D = 3, 2, 8


def _arrays(T):
    rng = np.random.default_rng(0)
    arrays = [jnp.asarray(rng.normal(size=(B, T, H, D)), jnp.float32) for _ in range(3)]
    keys = np.arange(T)[None] < np.array([T, T // 2, 1])[:, None]
    masks = {"keys": keys[:, None, None, :], "causal": np.tril(np.ones((1, 1, T, T), bool)) & keys[:, None, None, :]}
    return arrays, masks


def _expected(query, key, value, mask):
    """The formula in NumPy, float64."""
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    logits = np.where(mask, np.einsum("bthd,bshd->bhts", query, key) / np.sqrt(D), -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return np.einsum("bhts,bshd->bthd", weights / weights.sum(-1, keepdims=True), value)


@pytest.mark.parametrize("kind", ["keys", "causal"])
@pytest.mark.parametrize("T", [5, 6])
def test_what_cudnn_is_given_is_worth_the_same(T, kind, monkeypatch):
    """The kernel runs on GPUs alone: XLA's stands in for it, and its rules are checked on what it would get."""
    (query, key, value), masks = _arrays(T)
    own, asked = jax.nn.dot_product_attention, []

    def kernel(query, key, value, *, mask, implementation):
        asked.append(implementation)
        assert query.shape[1] % 2 == 0
        assert mask.shape[2:] == (query.shape[1], key.shape[1])
        return own(query, key, value, mask=mask)

    expected = _expected(query, key, value, masks[kind])
    np.testing.assert_allclose(attention.attend(query, key, value, masks[kind], None), expected, atol=1e-5)
    monkeypatch.setattr(attention.jax.nn, "dot_product_attention", kernel)
    np.testing.assert_allclose(attention.attend(query, key, value, masks[kind], "cudnn"), expected, atol=1e-5)
    assert asked == ["cudnn"]


@pytest.mark.parametrize("kind", [None, "keys"])
def test_gradients_with_dropout_are_those_of_the_formula(kind):
    T, rate = 5, 0.3
    arrays, masks = _arrays(T)
    mask = masks.get(kind)
    keep = jax.random.bernoulli(jax.random.key(0), 1 - rate, (B, H, T, T))
    towards = jnp.asarray(np.random.default_rng(1).normal(size=(B, T, H, D)), jnp.float32)

    def formula(query, key, value):
        """As it is written, by JAX's own derivatives."""
        logits = jnp.einsum("bthd,bshd->bhts", query, key) / D**0.5
        logits = logits if mask is None else jnp.where(mask, logits, -1e30)
        weights = jax.nn.softmax(logits) * keep / (1 - rate)
        return jnp.einsum("bhts,bshd->bthd", weights, value)

    def ours(query, key, value):
        return attention.attend(query, key, value, mask, None, keep, rate)

    np.testing.assert_allclose(ours(*arrays), formula(*arrays), atol=1e-5)
    given, expected = (jax.vjp(f, *arrays)[1](towards) for f in (ours, formula))
    for one, other in zip(given, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_layer_drops_weights_and_keeps_their_mean():
    """The layer is linear in the weights after the softmax: over many draws it is what it is without dropout."""
    module = Attention(Layer(num_heads=H, mlp_width=D, attention_dropout=0.4))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(B, 6, D)), jnp.float32)
    params = module.init(jax.random.key(0), x, None, True)
    whole = module.apply(params, x, None, True)
    draw = jax.vmap(lambda key: module.apply(params, x, None, False, rngs={"dropout": key}))
    draws = draw(jax.random.split(jax.random.key(1), 4000))
    assert draws.std(axis=0).min() > 0
    error = (draws.mean(axis=0) - whole) / (draws.std(axis=0) / len(draws) ** 0.5)
    assert abs(error).max() < 5


def test_with_dropout_cudnn_is_not_asked(monkeypatch):
    arrays, _ = _arrays(5)
    monkeypatch.setattr(attention.jax.nn, "dot_product_attention", lambda *_, **__: pytest.fail("cuDNN was asked"))
    keep = jnp.ones((B, H, 5, 5), bool)
    np.testing.assert_allclose(
        attention.attend(*arrays, None, "cudnn", keep, 0.5), 2 * attention.attend(*arrays, None, None), rtol=1e-6
    )


def _device(version, capability=""):
    client = types.SimpleNamespace(platform_version=version)
    return types.SimpleNamespace(client=client, compute_capability=capability, device_kind="a device")


NEW, OLD, CPU = _device("PJRT C API\ncuda 12090", "9.0"), _device("cuda 12090", "7.5"), _device("cpu")


@pytest.mark.parametrize(
    ("name", "dtype", "devices", "expected"),
    [
        ("auto", jnp.bfloat16, [NEW, NEW], "cudnn"),
        ("auto", jnp.float16, [NEW], "cudnn"),
        ("auto", jnp.float32, [NEW], "xla"),
        ("auto", jnp.bfloat16, [NEW, OLD], "xla"),
        ("auto", jnp.bfloat16, [CPU], "xla"),
        ("xla", jnp.bfloat16, [NEW], "xla"),
        ("cudnn", jnp.bfloat16, [NEW], "cudnn"),
    ],
)
def test_cudnn_is_asked_for_where_it_can_be_had(name, dtype, devices, expected):
    assert choose_attention(name, jnp.dtype(dtype), devices) == expected


def test_a_kernel_that_cannot_be_had_is_an_error():
    with pytest.raises(UserError, match=r"'cudnn' needs half precision and NVIDIA GPUs .* found bfloat16 on cpu"):
        choose_attention("cudnn", jnp.dtype(jnp.bfloat16), jax.devices())
    with pytest.raises(UserError, match=r"'cudnn' needs half precision .* found float32 on a device"):
        choose_attention("cudnn", jnp.dtype(jnp.float32), [NEW])
    with pytest.raises(UserError, match=r"config\.model.attention='flash' is unknown"):
        choose_attention("flash", jnp.dtype(jnp.bfloat16), [NEW])
