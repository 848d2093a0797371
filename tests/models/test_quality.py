"""The Quality-Aware Module against its formulas in NumPy, clip by clip and step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, expit, softmax

from emi_jax.models.pooling import masked_mean
from emi_jax.models.quality import EqualWeights, QualityAware

B, D = 4, 6
STEPS = {"vision": 5, "audio": 9, "text": 3}
PRESENT = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], bool)


def apply(module, *arguments):
    return jax.jit(module.apply)(*arguments)


def columns(of_modalities):
    return np.stack([of_modalities[m] for m in STEPS], axis=1)


@pytest.fixture
def clips():
    """Features, masks and presence: four clips with three, two, one and no modality."""
    rng = np.random.default_rng(0)
    features = {m: rng.normal(size=(B, t, D)).astype(np.float32) for m, t in STEPS.items()}
    lengths = {m: rng.integers(1, t + 1, B) for m, t in STEPS.items()}
    masks = {
        m: (np.arange(t)[None, :] < lengths[m][:, None]) & PRESENT[:, i, None] for i, (m, t) in enumerate(STEPS.items())
    }
    return features, masks, {m: PRESENT[:, i] for i, m in enumerate(STEPS)}


def random_variables(module, clips, scale=1.0):
    """Weights away from the initial ones, for which q would be 0."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *clips)
    return jax.tree.map(lambda w: rng.normal(scale=scale, size=w.shape).astype(np.float32), shapes)


def reference(params, features, masks, clip):
    """Weights {m: w}, reliabilities {m: [t]}, features {m: [t, D]} and shares {m: s} of one clip's valid steps."""

    def mlp(name, x):
        hidden, output = params[f"{name}_hidden"], params[f"{name}_output"]
        z = x @ hidden["kernel"] + hidden["bias"]
        return ((z * (1 + erf(z / np.sqrt(2))) / 2) @ output["kernel"] + output["bias"])[..., 0]

    steps = {m: features[m][clip][masks[m][clip]].astype(np.float64) for m in features if masks[m][clip].any()}
    reliability = {m: expit(mlp(f"{m}_reliability", y)) for m, y in steps.items()}
    quality = []
    for m, y in steps.items():
        statistics = [y.mean(0), np.sqrt(y.var(0) + 1e-6), [reliability[m].mean()]]
        quality.append(mlp(f"{m}_quality", np.concatenate(statistics)) + np.log(reliability[m].mean()))
    weights = dict(zip(steps, softmax(quality), strict=True)) if steps else {}
    passed = {}
    for m, y in steps.items():
        norm = params[f"{m}_norm"]
        normal = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-6) * norm["scale"] + norm["bias"]
        passed[m] = len(steps) * weights[m] * reliability[m][:, None] * normal
    shares = {m: w * reliability[m].mean() for m, w in weights.items()}
    return weights, reliability, passed, {m: s / sum(shares.values()) for m, s in shares.items()}


def test_weights_and_features_equal_the_formulas(clips):
    features, masks, _ = clips
    module = QualityAware(8)
    variables = random_variables(module, clips, 0.7)
    ours = apply(module, variables, *clips)
    for clip in range(B):
        weights, reliability, passed, shares = reference(variables["params"], features, masks, clip)
        for m in features:
            mask = masks[m][clip]
            np.testing.assert_allclose(ours.weights[m][clip], weights.get(m, 0), rtol=1e-4, atol=1e-30)
            np.testing.assert_allclose(ours.share[m][clip], shares.get(m, 0), rtol=1e-4, atol=1e-30)
            np.testing.assert_array_equal(ours.features[m][clip][~mask], 0)
            np.testing.assert_array_equal(ours.reliability[m][clip][~mask], 0)
            if m in weights:
                np.testing.assert_allclose(ours.reliability[m][clip][mask], reliability[m], rtol=1e-4)
                np.testing.assert_allclose(expit(ours.reliability_logits[m][clip][mask]), reliability[m], rtol=1e-4)
                np.testing.assert_allclose(ours.features[m][clip][mask], passed[m], rtol=2e-3, atol=1e-4)
                expected = np.log(len(weights) * weights[m] * reliability[m])
                np.testing.assert_allclose(ours.log_weights[m][clip][mask], expected, rtol=1e-4, atol=1e-4)


def test_absent_modalities_have_weight_exactly_zero(clips):
    module = QualityAware(8)
    weights = columns(apply(module, random_variables(module, clips), *clips).weights)
    np.testing.assert_array_equal(weights[~PRESENT], 0)
    np.testing.assert_allclose(weights.sum(1), [1, 1, 1, 0], rtol=1e-6)
    assert weights[2, 1] == 1


def test_initial_weights_are_the_shares_of_mean_reliability(clips):
    module = QualityAware(8)
    ours = apply(module, jax.jit(module.init)(jax.random.key(0), *clips), *clips)
    mask = {m: clips[1][m] for m in STEPS}
    trust = np.stack([ours.reliability[m].sum(1) / np.maximum(mask[m].sum(1), 1) for m in STEPS], axis=1)
    np.testing.assert_allclose(columns(ours.weights), trust / np.maximum(trust.sum(1, keepdims=True), 1e-9), rtol=1e-5)


def test_a_modality_whose_steps_lose_reliability_loses_weight(clips):
    """With the quality MLP at rest: w falls as log(mean r) does."""
    module = QualityAware(8)
    variables = jax.jit(module.init)(jax.random.key(0), *clips)
    before = columns(apply(module, variables, *clips).weights)
    variables["params"]["vision_reliability_output"]["bias"] -= 3.0
    after = columns(apply(module, variables, *clips).weights)
    assert (after[:2, 0] < 0.5 * before[:2, 0]).all()
    np.testing.assert_array_equal(after[2], before[2])


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_gradients_are_finite_and_zero_at_masked_steps(clips, scale):
    """Also for saturated reliabilities, constant features and clips with nothing in them."""
    features, masks, present = clips
    features = features | {"audio": np.ones_like(features["audio"])}
    module = QualityAware(8)
    variables = random_variables(module, clips, scale)

    def loss(variables, features):
        weighted = apply(module, variables, features, masks, present)
        return sum(jnp.cos(x).sum() for x in jax.tree.leaves(weighted))

    by_weights, by_features = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, features)
    for gradient in jax.tree.leaves((by_weights, by_features)):
        assert np.isfinite(gradient).all()
    for m, gradient in by_features.items():
        np.testing.assert_array_equal(gradient[~masks[m]], 0)


def test_masked_steps_have_no_influence(clips):
    features, masks, present = clips
    module = QualityAware(8)
    variables = random_variables(module, clips, 0.5)
    garbage = {m: np.where(masks[m][..., None], x, np.nan).astype(np.float32) for m, x in features.items()}
    clean, same = (apply(module, variables, x, masks, present) for x in (features, garbage))
    for field in ("features", "log_weights", "weights", "reliability", "share"):
        for m in STEPS:
            np.testing.assert_array_equal(getattr(same, field)[m], getattr(clean, field)[m])


def test_equal_weights_only_normalise(clips):
    features, masks, _ = clips
    module = EqualWeights()
    ours = apply(module, jax.jit(module.init)(jax.random.key(0), *clips), *clips)
    expected = np.array([[1 / 3, 1 / 3, 1 / 3], [0.5, 0, 0.5], [0, 1, 0], [0, 0, 0]])
    np.testing.assert_allclose(columns(ours.weights), expected, rtol=1e-6)
    np.testing.assert_allclose(columns(ours.share), expected, rtol=1e-6)
    assert ours.reliability_logits == {}
    for m, x in features.items():
        normal = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        np.testing.assert_allclose(ours.features[m], normal * masks[m][..., None], atol=1e-5)
        np.testing.assert_array_equal(ours.reliability[m], masks[m])
        np.testing.assert_array_equal(ours.log_weights[m], 0)


def test_masked_mean():
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    mask = np.array([[True, False, True], [False, False, False]])
    np.testing.assert_array_equal(masked_mean(jnp.asarray(x), jnp.asarray(mask)), [[2, 3], [0, 0]])
