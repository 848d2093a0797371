"""The transformer's attention layer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.models.transformer import Attention, Layer

B, H, D = 3, 2, 8


def test_a_layer_drops_weights_and_keeps_their_mean():
    """The layer is linear in the weights after the softmax: over many draws the mean is the output without dropout."""
    module = Attention(Layer(num_heads=H, mlp_width=D, attention_dropout=0.4))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(B, 6, D)), jnp.float32)
    params = module.init(jax.random.key(0), x)
    whole = module.apply(params, x)
    draw = jax.vmap(lambda key: module.apply(params, x, None, False, rngs={"dropout": key}))
    draws = draw(jax.random.split(jax.random.key(1), 4000))
    assert draws.std(axis=0).min() > 0
    error = (draws.mean(axis=0) - whole) / (draws.std(axis=0) / len(draws) ** 0.5)
    assert abs(error).max() < 5


def test_attention_to_itself_is_attention_to_a_memory_that_equals_the_input():
    module = Attention(Layer(num_heads=H, mlp_width=D))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(B, 6, D)), jnp.float32)
    params = module.init(jax.random.key(0), x)
    np.testing.assert_array_equal(module.apply(params, x), module.apply(params, x, None, True, x))
    assert module.apply(params, x[:, :2], None, True, x).shape == (B, 2, D)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="num_heads = 3 does not divide the width 8"):
        Attention(Layer(num_heads=3, mlp_width=D)).init(jax.random.key(0), jnp.zeros((1, 2, D)))
