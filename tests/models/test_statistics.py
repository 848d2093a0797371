"""Statistics over time equal NumPy's, whatever is masked, and have finite gradients."""

import jax
import numpy as np
import pytest
from scipy.special import erf

from emi_jax.models.statistics import StatisticsReadout, pooled_statistics

POOLED = jax.jit(pooled_statistics)


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
    found = POOLED(x, mask)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    noisy = np.where(mask[..., None], x, 1e9)  # what masked steps hold does not matter
    np.testing.assert_array_equal(POOLED(noisy.astype(np.float32), mask), found)


def test_gradients_of_constant_and_empty_sequences_are_finite():
    x, mask = np.ones((3, 5, 2), np.float32), np.arange(15).reshape(3, 5) % 5 < np.array([5, 1, 0])[:, None]
    gradient = jax.jit(jax.grad(lambda x: pooled_statistics(x, mask).sum()))(x)
    assert np.isfinite(gradient).all()


@pytest.fixture
def readout():
    """A readout of two modalities of three clips, with weights; the third clip has no modality."""
    rng = np.random.default_rng(0)
    module = StatisticsReadout(num_labels=3, width=8)
    statistics = {name: rng.normal(size=(3, 6)).astype(np.float32) for name in ("vision", "audio")}
    weights = {"vision": np.array([0.25, 0, 0], np.float32), "audio": np.array([0.75, 1, 0], np.float32)}
    variables = jax.jit(module.init)(jax.random.key(0), statistics, weights)
    variables["params"]["prior"] = np.array([0.1, 0.2, 0.3], np.float32)
    return module, variables, statistics, weights


def test_predictions_are_the_weighted_mean_of_those_of_the_modalities(readout):
    module, variables, statistics, weights = readout
    mean, unimodal = jax.jit(module.apply)(variables, statistics, weights)
    np.testing.assert_allclose(mean[0], 0.25 * unimodal["vision"][0] + 0.75 * unimodal["audio"][0], rtol=1e-5)
    np.testing.assert_allclose(mean[1], unimodal["audio"][1], rtol=1e-5)
    np.testing.assert_allclose(mean[2], [0.1, 0.2, 0.3])  # nothing is known of it
    broken = statistics | {"vision": np.full((3, 6), np.nan, np.float32)}
    np.testing.assert_array_equal(jax.jit(module.apply)(variables, broken, weights)[0][1:], mean[1:])


def test_unimodal_predictions_equal_their_formula(readout):
    module, variables, statistics, weights = readout
    _, unimodal = jax.jit(module.apply)(variables, statistics, weights)
    for name, x in statistics.items():
        hidden, output = variables["params"][f"{name}_hidden"], variables["params"][f"{name}_output"]
        z = x.astype(np.float64) @ hidden["kernel"] + np.asarray(hidden["bias"])[None]
        expected = np.array([[0.1, 0.2, 0.3]]) + z * (1 + erf(z / np.sqrt(2))) / 2 @ output["kernel"]
        np.testing.assert_allclose(unimodal[name], expected, rtol=1e-4, atol=1e-5)


def test_loss_of_the_mean_trains_the_weights_alone(readout):
    module, variables, statistics, weights = readout

    def loss(variables, weights):
        return module.apply(variables, statistics, weights)[0].sum()

    of_readouts, of_weights = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, weights)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(of_readouts))
    assert of_weights["vision"][0]
    assert of_weights["audio"][:2].all()
