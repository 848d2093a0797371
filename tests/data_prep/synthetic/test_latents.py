import numpy as np
import pytest
import scipy.stats

from data_prep.synthetic import latents


def test_expected_labels_are_the_mean_of_the_censored_gaussian():
    rng = np.random.default_rng(0)
    hidden = np.array([[-0.6, -0.1, 0.0, 0.05, 0.4, 1.1]])
    drawn = np.clip(hidden + latents.NOISE * rng.standard_normal((400_000, 6)), 0, 1)
    np.testing.assert_allclose(latents.expected_labels(hidden)[0], drawn.mean(0), atol=4 * 0.5 / 400_000**0.5)


def test_labels_have_the_statistics_of_the_real_corpus():
    rng = np.random.default_rng(1)
    labels = latents.draw_labels(rng, latents.draw_latents(rng, 200_000))
    np.testing.assert_allclose(labels.mean(0), [0.18, 0.13, 0.10, 0.02, 0.14, 0.12], atol=0.01)
    np.testing.assert_allclose(labels.std(0), [0.25, 0.22, 0.19, 0.09, 0.23, 0.21], atol=0.015)
    assert (labels[:, 3] > 0).mean() == pytest.approx(0.10, abs=0.01)


def test_ceiling_is_the_pearson_of_the_best_prediction():
    rng = np.random.default_rng(2)
    hidden = latents.draw_latents(rng, 300)
    labels, expected = latents.draw_labels(rng, hidden), latents.expected_labels(hidden)
    ceiling = latents.ceiling(expected, labels)
    assert list(ceiling) == list(latents.EMOTIONS)
    for k, value in enumerate(ceiling.values()):
        assert value == pytest.approx(scipy.stats.pearsonr(expected[:, k], labels[:, k]).statistic, abs=1e-4)
        assert value > np.corrcoef(expected[:, k] ** 3, labels[:, k])[0, 1]
    assert 0.85 < np.mean(list(ceiling.values())) < 0.95


def test_latents_correlate_as_stated():
    hidden = latents.draw_latents(np.random.default_rng(3), 100_000)
    np.testing.assert_allclose(np.corrcoef(hidden.T), latents.CORRELATION, atol=0.02)
