"""The other heads give the same guarantees as the fusion about padding, absence and outputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit, logit

from emi_jax.modalities import MODALITIES
from emi_jax.models.concatenation import Concatenation
from emi_jax.models.text_anchored import TextAnchored
from tests.models.test_fusion import PRESENT, B, D, K, clips, garbage

HEADS = {
    "concatenation": Concatenation(K, D),
    "text_anchored": TextAnchored(K, D, num_heads=2),
    "text_anchored_without_text": TextAnchored(K, D, num_heads=2, modalities=("vision", "audio")),
    "concatenation_of_two": Concatenation(K, D, modalities=("audio", "text")),
}


@pytest.fixture(scope="module", params=HEADS)
def model(request):
    """A head, weights that are not the initial ones, and its jitted function."""
    head = HEADS[request.param]
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(head.init, jax.random.key(0), *clips())
    weights = jax.tree.map(lambda w: rng.normal(scale=0.4, size=w.shape).astype(np.float32), shapes)
    return head, weights, jax.jit(head.apply)


def test_heads_have_the_outputs_of_the_fusion(model):
    head, weights, apply = model
    predictions, extras = apply(weights, *clips())
    assert predictions.shape == (B, K)
    assert ((predictions > 0) & (predictions < 1)).all()
    used = PRESENT & np.array([name in head.modalities for name in MODALITIES])[None, :]
    np.testing.assert_allclose(extras["weights"], used / np.maximum(used.sum(1, keepdims=True), 1))
    np.testing.assert_array_equal(extras["informed"], used.any(1))
    assert set(extras["reliability"]) == set(head.modalities)
    assert extras["reliability_logits"] == {}


@pytest.mark.parametrize("value", [1e4, np.nan])
def test_padding_and_absent_modalities_have_no_influence(model, value):
    _, weights, apply = model
    features, masks, times, present = clips()
    expected, _ = apply(weights, garbage(features, masks, present, 0.0), masks, times, present)
    found, _ = apply(weights, garbage(features, masks, present, value), masks, times, present)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isfinite(expected).all()


def test_more_padding_changes_nothing(model):
    _, weights, apply = model
    features, masks, times, present = clips()
    longer = {m: np.pad(x, ((0, 0), (0, 3), (0, 0))) for m, x in features.items()}
    wider = {m: np.pad(x, ((0, 0), (0, 3))) for m, x in masks.items()}
    later = {m: np.pad(x, ((0, 0), (0, 3))) for m, x in times.items()}
    expected, _ = apply(weights, features, masks, times, present)
    found, _ = apply(weights, longer, wider, later, present)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_every_modality_in_use_matters_and_gradients_are_finite(model):
    head, weights, apply = model
    features, masks, times, _ = clips()
    present = np.ones((B, 3), bool)
    expected, _ = apply(weights, features, masks, times, present)
    for name in features:
        found, _ = apply(weights, features | {name: features[name] + 1}, masks, times, present)
        assert (np.abs(found - expected).max() > 1e-4) == (name in head.modalities)
    gradients = jax.grad(lambda w: apply(w, features, masks, times, PRESENT)[0].sum())(weights)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_concatenation_equals_its_formula():
    features, masks, times, present = clips()
    head = HEADS["concatenation"]
    weights = head.init(jax.random.key(0), features, masks, times, present)
    predictions, _ = head.apply(weights, features, masks, times, present)
    parts = []
    for place, name in enumerate(MODALITIES):
        valid = (masks[name] & present[:, place, None])[..., None]
        parts.append((features[name] * valid).sum(1) / np.maximum(valid.sum(1), 1))
    layers = weights["params"]["pooled"]
    hidden = np.concatenate(parts, axis=1) @ layers["hidden"]["kernel"] + np.asarray(layers["hidden"]["bias"])[None]
    hidden = jax.nn.gelu(jnp.asarray(hidden), approximate=False)
    expected = hidden @ layers["output"]["kernel"] + np.asarray(layers["output"]["bias"])[None]
    np.testing.assert_allclose(predictions, expit(expected), rtol=1e-4, atol=1e-5)


def test_tokens_attend_to_the_other_modalities(model):
    """Tokens decide what is read of the face: other tokens, and the same frames count otherwise."""
    head, weights, apply = model
    if not (isinstance(head, TextAnchored) and "text" in head.modalities):
        pytest.skip("no words in this head")
    features, masks, times, _ = clips()
    present = np.ones((B, 3), bool)
    other = features | {"text": features["text"][::-1].copy()}
    moved = features | {"vision": features["vision"] + 1}
    both = other | {"vision": moved["vision"]}
    logits = [logit(np.asarray(apply(weights, x, masks, times, present)[0])) for x in (features, other, moved, both)]
    assert np.abs((logits[2] - logits[0]) - (logits[3] - logits[1])).max() > 1e-3
