"""Attention logits by relative position."""

import jax
import numpy as np
import pytest

from emi_jax.models.relative import RelativeKeys, buckets
from tests.modules import random_params, run


@pytest.mark.parametrize(("num_buckets", "max_distance"), [(320, 800), (32, 128), (8, 5)])
def test_buckets_are_those_of_wavlm(num_buckets, max_distance):
    torch = pytest.importorskip("torch")
    from transformers import WavLMConfig
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention

    attention = WavLMAttention(WavLMConfig().hidden_size, 12, num_buckets=num_buckets, max_distance=max_distance)
    steps = 1000
    expected = attention._relative_positions_bucket(torch.arange(steps)[None] - torch.arange(steps)[:, None])
    np.testing.assert_array_equal(buckets(steps, num_buckets, max_distance), expected.numpy())


def test_relative_keys_are_products_of_queries_and_vectors_of_clipped_distances():
    query = np.random.default_rng(0).normal(size=(2, 7, 3, 4)).astype(np.float32)
    module = RelativeKeys(left=3, right=2)
    params = random_params(module, query)
    table = np.asarray(params["table"]["embedding"])
    assert table.shape == (6, 4)
    expected = np.zeros((2, 3, 7, 7))
    for i in range(7):
        for j in range(7):
            expected[:, :, i, j] = query[:, i] @ table[min(max(j - i, -3), 2) + 3] / 4**0.5
    np.testing.assert_allclose(run(module, params, query), expected, atol=1e-6)
    gradient = jax.grad(lambda p: (module.apply({"params": p}, query) * expected).sum())(params)["table"]["embedding"]
    row = sum(expected[:, :, i, j, None] * query[:, i] / 2 for i in range(7) for j in range(7) if j - i >= 2)
    np.testing.assert_allclose(gradient[5], row.sum((0, 1)), rtol=1e-4)
