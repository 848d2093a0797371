"""The other heads give the same guarantees as the fusion about padding, absence and outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.modalities import MODALITIES
from emi_jax.models.concatenation import Concatenation
from emi_jax.models.pooling import text_vector
from emi_jax.models.text_anchored import TextAnchored
from tests.models.test_fusion import PRESENT, B, D, K, clips, garbage

SMALL = {"audio_hidden": 3, "vision_hidden": 4}
HEADS = {
    "concatenation": Concatenation(K, D, **SMALL),
    "text_anchored": TextAnchored(K, D, num_heads=2, dropout=0.0),
    "text_anchored_without_text": TextAnchored(K, D, num_heads=2, dropout=0.0, modalities=("vision", "audio")),
    "concatenation_of_two": Concatenation(K, D, **SMALL, token="last", modalities=("audio", "text")),
    "text_anchored_of_two": TextAnchored(K, D, num_heads=2, dropout=0.0, token="mean", modalities=("audio", "text")),
}


@pytest.fixture(scope="module", params=HEADS)
def model(request):
    """A head, weights that are not the initial ones, and its jitted function, whose last argument is deterministic."""
    head = HEADS[request.param]
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(head.init, jax.random.key(0), *clips())
    weights = jax.tree.map(lambda w: rng.normal(scale=0.4, size=w.shape).astype(np.float32), shapes)
    return head, weights, jax.jit(head.apply, static_argnums=5)


def test_heads_have_the_outputs_of_the_fusion(model):
    head, weights, apply = model
    predictions, extras = apply(weights, *clips(), True)
    assert predictions.shape == (B, K)
    used = PRESENT & np.array([name in head.modalities for name in MODALITIES])[None, :]
    np.testing.assert_allclose(extras["weights"], used / np.maximum(used.sum(1, keepdims=True), 1))
    np.testing.assert_array_equal(extras["informed"], used.any(1))
    assert set(extras["reliability"]) == set(head.modalities)
    assert extras["reliability_logits"] == {}


def test_predictions_are_linear_in_training_and_clipped_elsewhere(model):
    _, weights, apply = model
    linear, clipped = (np.asarray(apply(weights, *clips(), deterministic)[0]) for deterministic in (False, True))
    assert ((linear < 0) | (linear > 1)).any()
    np.testing.assert_allclose(clipped, np.clip(linear, 0, 1), atol=1e-6)


@pytest.mark.parametrize("value", [1e4, np.nan])
def test_padding_and_absent_modalities_have_no_influence(model, value):
    _, weights, apply = model
    features, masks, times, present = clips()
    expected, _ = apply(weights, garbage(features, masks, present, 0.0), masks, times, present, False)
    found, _ = apply(weights, garbage(features, masks, present, value), masks, times, present, False)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isfinite(expected).all()


def test_more_padding_changes_nothing(model):
    _, weights, apply = model
    features, masks, times, present = clips()
    longer = {m: np.pad(x, ((0, 0), (0, 3), (0, 0))) for m, x in features.items()}
    wider = {m: np.pad(x, ((0, 0), (0, 3))) for m, x in masks.items()}
    later = {m: np.pad(x, ((0, 0), (0, 3))) for m, x in times.items()}
    expected, _ = apply(weights, features, masks, times, present, False)
    found, _ = apply(weights, longer, wider, later, present, False)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_every_modality_in_use_matters_and_gradients_are_finite(model):
    head, weights, apply = model
    features, masks, times, _ = clips()
    present = np.ones((B, 3), bool)
    expected, _ = apply(weights, features, masks, times, present, False)
    for name in features:
        found, _ = apply(weights, features | {name: features[name] + 1}, masks, times, present, False)
        assert (np.abs(found - expected).max() > 1e-4) == (name in head.modalities)
    gradients = jax.grad(lambda w: apply(w, features, masks, times, PRESENT, False)[0].sum())(weights)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_text_vector_is_the_first_or_last_valid_token_or_their_mean():
    x = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    mask = np.array([[1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 0, 0]], bool)
    nothing = np.zeros(2)
    expected = {
        "first": [x[0, 0], x[1, 1], nothing],
        "last": [x[0, 2], x[1, 3], nothing],
        "mean": [x[0, :3].mean(0), x[1, 1:].mean(0), nothing],
    }
    for token, vectors in expected.items():
        np.testing.assert_allclose(text_vector(jnp.asarray(x), jnp.asarray(mask), token), vectors)


@pytest.mark.parametrize("head", [Concatenation, TextAnchored])
def test_unknown_tokens_are_refused(head):
    with pytest.raises(ValueError, match=r"token = 'middle': choose one of \('first', 'last', 'mean'\)"):
        head(K, token="middle")


def test_text_anchored_refuses_heads_that_do_not_divide_its_width():
    with pytest.raises(ValueError, match="num_heads = 3 does not divide the width 512"):
        TextAnchored(K, num_heads=3)
