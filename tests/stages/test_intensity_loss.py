"""The loss of stage 2 against NumPy, over two devices."""

import jax
import numpy as np
import pytest

from emi_jax.modalities import AUDIO, VISION
from emi_jax.stages.intensity_loss import Weights, intensity_loss, label_weights
from emi_jax.train.mapping import AXIS

DEVICES, CLIPS, LABELS = 2, 6, 3


@pytest.fixture
def clips():
    """Outputs and batch, [devices, clips of each, ...]; some labels are unknown and some voices are absent."""
    rng = np.random.default_rng(0)
    shape = (DEVICES, CLIPS, LABELS)
    outputs = {
        "predictions": rng.random(shape, np.float32),
        "present": rng.random((DEVICES, CLIPS, 3)) < 0.7,
        "unimodal": {name: rng.random(shape, np.float32) for name in (VISION, AUDIO)},
        "reliability_logits": {},
    }
    batch = {
        "labels": rng.random(shape, np.float32),
        "label_mask": rng.random(shape) < 0.8,
        "valid": rng.random((DEVICES, CLIPS)) < 0.8,
    }
    return outputs, batch


def regression(predictions, labels, known, factors, correlation):
    """Weighted mean squared error plus the weighted 1 - rho, label by label."""
    squares = np.square(predictions.astype(float) - labels) * factors
    rho = [np.corrcoef(predictions[known[:, k], k], labels[known[:, k], k])[0, 1] for k in range(LABELS)]
    return squares[known].mean() + correlation * (1 - np.mean(rho))


def test_labels_are_weighted_and_each_modality_has_its_loss(clips):
    weights = Weights(correlation=0.2, quality=0.0, unimodal=0.5, labels=(2.0, 0.5, 0.5))
    value, terms = jax.vmap(lambda *parts: intensity_loss(weights, *parts), axis_name=AXIS)(*clips)
    outputs, batch = jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), clips)
    known = batch["label_mask"] & batch["valid"][:, None]

    def expected(predictions, known):
        return regression(predictions, batch["labels"], known, np.array(weights.labels), weights.correlation)

    each = [
        expected(outputs["unimodal"][name], known & outputs["present"][:, [place]])
        for place, name in enumerate((VISION, AUDIO))
    ]
    np.testing.assert_allclose(terms["unimodal"], np.mean(each), rtol=1e-5)
    total = expected(outputs["predictions"], known) + 0.5 * np.mean(each)
    np.testing.assert_allclose(value, np.full(DEVICES, total), rtol=1e-5)


def test_balanced_labels_contribute_by_their_unexplained_variance():
    rng = np.random.default_rng(1)
    labels = rng.random((200, 3)) * [1.0, 0.1, 0.5]
    labels[rng.random(labels.shape) < 0.1] = np.nan
    factors = np.array(label_weights(labels, 1.0))
    contributions = factors * np.nanvar(labels, axis=0)
    np.testing.assert_allclose(contributions, contributions[0], rtol=1e-9)
    assert factors.mean() == pytest.approx(1)
    halfway = np.array(label_weights(labels, 0.5))
    np.testing.assert_allclose(halfway / halfway[0], np.sqrt(factors / factors[0]), rtol=1e-9)
    assert label_weights(labels, 0.0) == (1, 1, 1)


def test_constant_and_unknown_labels_have_no_weight_of_their_own():
    labels = np.random.default_rng(2).random((50, 4)) * [1, 2, 1, 1]
    labels[:, 2], labels[:, 3] = 0.5, np.nan
    factors = label_weights(labels, 1.0)
    assert factors[2:] == (1, 1)
    assert sum(factors[:2]) == pytest.approx(2)
