"""Statistics over time equal NumPy's, whatever is masked, and have finite gradients."""

import jax
import numpy as np
import pytest

from emi_jax.models.statistics import StatisticsReadout, pooled_statistics, weighted_mean


def expected_of(steps, valid):
    """Of one clip, with NumPy's own functions."""
    if not valid.any():
        return np.zeros(6 * steps.shape[1])
    changes = np.diff(steps, axis=0)[valid[1:] & valid[:-1]]
    chosen = steps[valid]
    spread = changes.std(axis=0) if len(changes) else np.zeros(steps.shape[1])
    return np.concatenate([chosen.mean(0), chosen.std(0), *np.percentile(chosen, [10, 50, 90], axis=0), spread])


@pytest.mark.parametrize("share", [1.0, 0.6, 0.1, 0.0])
def test_statistics_equal_numpy(share):
    rng = np.random.default_rng(0)
    x, mask = rng.normal(3, 2, (5, 9, 4)).astype(np.float32), rng.random((5, 9)) < share
    expected = np.stack([expected_of(steps, valid) for steps, valid in zip(x.astype(np.float64), mask, strict=True)])
    np.testing.assert_allclose(pooled_statistics(x, mask), expected, rtol=1e-4, atol=1e-5)
    noisy = np.where(mask[..., None], x, 1e9)  # what masked steps hold does not matter
    np.testing.assert_array_equal(pooled_statistics(noisy, mask), pooled_statistics(x, mask))


def test_gradients_of_constant_and_empty_sequences_are_finite():
    x, mask = np.ones((3, 5, 2), np.float32), np.arange(15).reshape(3, 5) % 5 < np.array([5, 1, 0])[:, None]
    gradient = jax.grad(lambda x: pooled_statistics(x, mask).sum())(x)
    assert np.isfinite(gradient).all()


def test_mean_is_weighted_and_leaves_out_what_has_no_weight():
    logits = {"vision": np.array([[np.nan, 1.0], [2.0, 4.0]], np.float32), "audio": np.ones((2, 2), np.float32)}
    weights = {"vision": np.array([0.0, 0.25], np.float32), "audio": np.array([1.0, 0.75], np.float32)}
    np.testing.assert_allclose(weighted_mean(logits, weights), [[1, 1], [1.25, 1.75]])


def test_loss_of_the_mean_trains_the_weights_alone():
    rng = np.random.default_rng(0)
    readout = StatisticsReadout(num_labels=3, width=8)
    statistics = {name: rng.normal(size=(2, 6)).astype(np.float32) for name in ("vision", "audio")}
    weights = {name: np.full(2, 0.5, np.float32) for name in statistics}
    variables = readout.init(jax.random.key(0), statistics)

    def loss(variables, weights):
        return weighted_mean(readout.apply(variables, statistics), weights).sum()

    of_readouts, of_weights = jax.grad(loss, argnums=(0, 1))(variables, weights)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(of_readouts))
    assert all(np.all(leaf) for leaf in jax.tree.leaves(of_weights))
