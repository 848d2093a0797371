"""Attention: the plain form against NumPy, and the call to cuDNN against the plain form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.kernels import attention

B, T, S, H, D = 3, 5, 7, 2, 8


def arrays(queries=T, keys=S, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=(B, length, H, D)), dtype) for length in (queries, keys, keys)]


def masks(queries, keys):
    valid = np.arange(keys)[None] < np.array([keys, keys // 2, 1])[:, None]
    causal = np.tril(np.ones((1, 1, queries, keys), bool))
    return {"keys": valid[:, None, None, :], "causal": causal & valid[:, None, None, :]}


def formula(query, key, value, mask=None, bias=0.0, keep=1.0, rate=0.0):
    """Vaswani et al. 2017, Eq. 1, in NumPy and float64."""
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    logits = np.einsum("bthd,bshd->bhts", query, key) / np.sqrt(D) + bias
    logits = logits if mask is None else np.where(mask, logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True) * keep / (1 - rate)
    return np.einsum("bhts,bshd->bthd", weights, value)


@pytest.mark.parametrize(("dtype", "atol"), [(jnp.float32, 1e-5), (jnp.bfloat16, 3e-2)])
@pytest.mark.parametrize("kind", [None, "keys", "causal"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_equals_the_formula(dtype, atol, kind, biased, rate):
    query, key, value = arrays(dtype=dtype)
    mask = masks(T, S).get(kind)
    rng = np.random.default_rng(1)
    bias = rng.normal(size=(B, 1, 1, S)).astype(np.float32) if biased else None
    keep = rng.random((B, H, T, S)) >= rate if rate else None
    result = attention.dot_product_attention(query, key, value, mask, bias, None, keep, rate)
    expected = formula(query, key, value, mask, 0.0 if bias is None else bias, 1.0 if keep is None else keep, rate)
    assert result.dtype == dtype
    np.testing.assert_allclose(np.asarray(result, np.float64), expected, atol=atol)


def test_a_query_that_sees_no_key_has_finite_gradients():
    def total(query, key, value):
        return attention.dot_product_attention(query, key, value, jnp.zeros((B, 1, 1, S), bool)).sum()

    for gradient in jax.grad(total, argnums=(0, 1, 2))(*arrays()):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("kind", [None, "keys", "causal"])
@pytest.mark.parametrize("length", [5, 6])
def test_arguments_of_cudnn_give_the_plain_result(length, kind, monkeypatch):
    """The kernel runs on GPUs alone: JAX's plain attention replaces it, and its rules are checked on the arguments."""
    query, key, value = arrays(length, length)
    mask, plain, calls = masks(length, length).get(kind), jax.nn.dot_product_attention, []

    def kernel(query, key, value, *, mask=None, key_value_seq_lengths=None, implementation):
        calls.append(implementation)
        assert query.shape[1] % 2 == 0
        if kind == "causal":
            assert mask.shape[2:] == (query.shape[1], key.shape[1])
        else:  # no dense mask, which cuDNN would turn into a bias with a gradient
            assert mask is None
        return plain(query, key, value, mask=mask, key_value_seq_lengths=key_value_seq_lengths)

    monkeypatch.setattr(attention.jax.nn, "dot_product_attention", kernel)

    def gradients(implementation):
        def total(query, key, value):
            result = attention.dot_product_attention(query, key, value, mask, None, implementation)
            return (result * jnp.cos(jnp.arange(result.size)).reshape(result.shape)).sum(), result

        return jax.jit(jax.grad(total, argnums=(0, 1, 2), has_aux=True))(query, key, value)

    for given, expected in zip(jax.tree.leaves(gradients("cudnn")), jax.tree.leaves(gradients("xla")), strict=True):
        np.testing.assert_allclose(given, expected, atol=1e-5)
    assert calls == ["cudnn"]


def test_cudnn_is_never_called_without_a_key(monkeypatch):
    """Its result for an empty clip would not be finite."""
    lengths = []

    def kernel(query, *_, key_value_seq_lengths, **__):
        lengths.append(key_value_seq_lengths)
        return query

    monkeypatch.setattr(attention.jax.nn, "dot_product_attention", kernel)
    mask = np.arange(S) < np.array([[S], [2], [0]])
    attention.dot_product_attention(*arrays(S, S), jnp.asarray(mask)[:, None, None], implementation="cudnn")
    assert lengths[0].dtype == jnp.int32
    assert lengths[0].tolist() == [S, 2, 1]


def test_dropout_and_a_bias_run_the_plain_form(monkeypatch):
    monkeypatch.setattr(attention.jax.nn, "dot_product_attention", lambda *_, **__: pytest.fail("cuDNN was called"))
    query, key, value = arrays()
    keep, bias = np.ones((B, H, T, S), bool), np.zeros((B, 1, 1, S))
    attention.dot_product_attention(query, key, value, None, None, "cudnn", keep, 0.5)
    attention.dot_product_attention(query, key, value, None, bias, "cudnn")
