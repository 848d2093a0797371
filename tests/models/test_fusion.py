"""The complete head: guarantees about padding, absence, weights and switches."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from emi_jax.modalities import MODALITIES
from emi_jax.models.fusion import Fusion
from emi_jax.models.heads import HEADS, build_head, drop_modalities

B, D, K = 4, 8, 6
STEPS = {"vision": 5, "audio": 9, "text": 4}
WIDTHS = {"vision": 7, "audio": 6, "text": 5}
PRESENT = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]], bool)
# Between them, every part is on and off.
SWITCHES: dict[str, dict[str, Any]] = {
    "attention_bias": {"attention_bias": True},
    "bfloat16": {"dtype": jnp.bfloat16, "attention_bias": True},
    "pooled": {"decoder": False, "tcn_causal": True, "gate": False, "lstm_hidden": 3},
    "bare": {"tcn": False, "bilstm": False, "quality": False},
    "text_alone": {"modalities": ("text",)},
}


def head_of(**fields):
    return Fusion(K, D, num_heads=2, num_layers=1, tcn_dilations=(2,), **fields)


def clips(seed=0):
    """Features, masks (every clip with some padding), times and presence: three, two, one and no modality."""
    rng = np.random.default_rng(seed)
    features = {m: rng.normal(size=(B, t, WIDTHS[m])).astype(np.float32) for m, t in STEPS.items()}
    masks = {m: np.arange(t)[None, :] < rng.integers(1, t, B)[:, None] for m, t in STEPS.items()}
    times = {m: np.sort(rng.uniform(0, 3, (B, t))).astype(np.float32) for m, t in STEPS.items()}
    return features, masks, times, PRESENT


def variables_of(head, seed=1):
    """Weights that are not the initial ones, under which the modalities would weigh the same."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), *clips()))  # compiles nothing
    return jax.tree.map(lambda w: rng.normal(scale=0.4, size=w.shape).astype(np.float32), shapes)


@pytest.fixture(scope="module", params=SWITCHES)
def model(request):
    """A head, its weights and its jitted function, for each way to switch it."""
    head = head_of(**SWITCHES[request.param])
    return head, variables_of(head), jax.jit(head.apply, static_argnums=5)


def garbage(features, masks, present, value):
    """The features with a value in place of whatever is padding or absent."""
    return {
        m: np.where((masks[m] & present[:, MODALITIES.index(m), None])[..., None], x, value).astype(np.float32)
        for m, x in features.items()
    }


def test_outputs_have_their_shapes_and_ranges(model):
    head, variables, apply = model
    features, masks, times, present = clips()
    predictions, extras = apply(variables, features, masks, times, present, True)
    assert predictions.shape == (B, K)
    assert predictions.dtype == extras["weights"].dtype == jnp.float32
    assert ((predictions > 0) & (predictions < 1)).all()
    used = PRESENT & np.array([m in head.modalities for m in MODALITIES])[None, :]
    for name in ("weights", "share"):
        np.testing.assert_array_equal(extras[name] > 0, used)
        np.testing.assert_allclose(extras[name].sum(1), used.any(1), rtol=1e-5)
    np.testing.assert_array_equal(extras["informed"], used.any(1))
    assert set(extras["reliability"]) == set(head.modalities)
    assert set(extras["reliability_logits"]) == (set(head.modalities) if head.quality else set())
    for m, r in extras["reliability"].items():
        np.testing.assert_array_equal(r > 0, masks[m] & PRESENT[:, MODALITIES.index(m), None])


@pytest.mark.parametrize("value", [1e6, np.nan])
def test_padding_and_absent_modalities_have_no_influence(model, value):
    _, variables, apply = model
    features, masks, times, present = clips()
    clean = apply(variables, features, masks, times, present, True)
    same = apply(variables, garbage(features, masks, present, value), masks, times, present, True)
    chex.assert_trees_all_equal(same, clean)


@pytest.mark.parametrize("switches", ["attention_bias", "pooled", "bare", "text_alone"])
def test_gradients_are_finite_and_zero_at_padding_and_absent_modalities(switches):
    head = head_of(**SWITCHES[switches])
    variables = variables_of(head)
    features, masks, times, present = clips()
    features = garbage(features, masks, present, 1e6)

    def loss(variables, features):
        predictions, extras = head.apply(variables, features, masks, times, present)
        logits = sum(jnp.sin(x).sum() for x in extras["reliability_logits"].values())
        return jnp.sin(9 * predictions).sum() + jnp.square(extras["share"]).sum() + logits

    by_weights, by_features = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, features)
    for gradient in jax.tree.leaves((by_weights, by_features)):
        assert np.isfinite(gradient).all()
    for m, gradient in by_features.items():
        here = masks[m] & present[:, MODALITIES.index(m), None]
        np.testing.assert_array_equal(gradient[~here], 0)
        assert (np.abs(gradient[here]).max() > 0) == (m in head.modalities)


def test_longer_padding_changes_nothing_but_rounding(model):
    _, variables, apply = model
    features, masks, times, present = clips()
    longer = {m: np.pad(x, ((0, 0), (0, 6), (0, 0)), constant_values=3) for m, x in features.items()}
    wider = {m: np.pad(x, ((0, 0), (0, 6))) for m, x in masks.items()}
    later = {m: np.pad(x, ((0, 0), (0, 6))) for m, x in times.items()}
    predictions, extras = apply(variables, features, masks, times, present, True)
    padded, padded_extras = apply(variables, longer, wider, later, present, True)
    np.testing.assert_allclose(padded, predictions, atol=1e-5)
    np.testing.assert_allclose(padded_extras["weights"], extras["weights"], atol=1e-5)
    for m, r in extras["reliability"].items():
        np.testing.assert_allclose(padded_extras["reliability"][m][:, : STEPS[m]], r, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), present=st.lists(st.booleans(), min_size=3 * B, max_size=3 * B))
def test_the_rest_of_the_batch_does_not_change_a_clip(seed, present):
    """Any masks, holes and emptiness included: no clip's answer depends on its neighbours or on what is masked."""
    features, _, _, _ = clips(seed)
    rng = np.random.default_rng(seed)
    masks = {m: rng.uniform(size=(B, t)) < 0.5 for m, t in STEPS.items()}
    times = {m: rng.uniform(0, 3, (B, t)).astype(np.float32) for m, t in STEPS.items()}
    here = np.array(present).reshape(B, 3)
    others = {m: np.roll(x, 1, axis=0) for m, x in features.items()}
    mixed = {m: np.where(np.arange(B)[:, None, None] == 0, features[m], others[m]) for m in STEPS}
    answer, extras = _APPLY(_VARIABLES, garbage(features, masks, here, -7), masks, times, here)
    again, _ = _APPLY(_VARIABLES, garbage(mixed, masks, here, 1e5), masks, times, here)
    np.testing.assert_allclose(again[0], answer[0], atol=1e-6)
    expected = np.stack([masks[m].any(1) for m in MODALITIES], axis=1) & here
    np.testing.assert_array_equal(extras["weights"] > 0, expected)
    assert np.isfinite(answer).all()


_HEAD = head_of(attention_bias=True)
_VARIABLES = variables_of(_HEAD)
_APPLY = jax.jit(_HEAD.apply)


def test_clips_without_a_modality_share_one_prediction():
    features, masks, times, _ = clips()
    nothing, extras = _APPLY(_VARIABLES, features, masks, times, np.zeros((B, 3), bool))
    np.testing.assert_array_equal(nothing, np.broadcast_to(nothing[:1], (B, K)))
    assert not extras["informed"].any()
    empty = {m: np.zeros_like(x) for m, x in masks.items()}
    np.testing.assert_array_equal(_APPLY(_VARIABLES, features, empty, times, np.ones((B, 3), bool))[0], nothing)


@pytest.mark.parametrize("decoder", [True, False])
def test_the_weights_reach_the_predictions(decoder):
    """The quality MLP's last bias moves w and nothing else; were weighted features normalised, nothing would move."""
    head = head_of(decoder=decoder)
    variables = variables_of(head)
    clip = clips()
    apply = jax.jit(head.apply)
    before, extras = apply(variables, *clip)
    m = int(np.argmax(extras["weights"][0]))
    w = np.asarray(extras["weights"])[0, m]
    # The bias that halves the first clip's largest weight: odds of w/2 over odds of w.
    shift = np.log(w / 2 / (1 - w / 2)) - np.log(w / (1 - w))
    last = variables["params"]["quality"][f"{MODALITIES[m]}_quality_output"]
    last["bias"] = last["bias"] + np.float32(shift)
    after, moved = apply(variables, *clip)
    np.testing.assert_allclose(moved["weights"][0, m], w / 2, rtol=1e-4)
    assert np.abs(after[0] - before[0]).max() > 1e-3
    # Alone, a modality weighs 1 whatever its quality.
    np.testing.assert_allclose(after[2:], before[2:], atol=1e-6)


def test_dropout_only_in_training():
    head, clip = head_of(**SWITCHES["text_alone"]), clips()
    variables = variables_of(head)
    training = jax.jit(functools.partial(head.apply, deterministic=False))
    noisy, _ = training(variables, *clip, rngs={"dropout": jax.random.key(0)})
    apply = jax.jit(head.apply)
    still, again = (apply(variables, *clip)[0] for _ in range(2))
    np.testing.assert_array_equal(still, again)
    assert np.abs(noisy - still).max() > 1e-3


def test_unused_modalities_are_never_read():
    features, masks, times, present = clips()
    head = head_of(**SWITCHES["text_alone"])
    variables = variables_of(head)
    names = " ".join(jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(variables))
    assert "text" in names
    assert not any(other in names for other in ("vision", "audio", "tcn", "bilstm"))
    apply = jax.jit(head.apply)
    alone, extras = apply(variables, {"text": features["text"]}, {"text": masks["text"]}, times, present)
    np.testing.assert_array_equal(alone, apply(variables, features, masks, times, present)[0])
    np.testing.assert_array_equal(extras["weights"], present * [[False, False, True]])
    np.testing.assert_array_equal(extras["informed"], present[:, 2])


def test_one_compilation_serves_training():
    """Shapes alone decide the program: no trace depends on masks or presence."""
    features, masks, times, _ = clips()
    traces: list[None] = []

    @jax.jit
    def step(present, masks):
        traces.append(None)
        return _HEAD.apply(_VARIABLES, features, masks, times, present)[0]

    for present in (PRESENT, ~PRESENT):
        step(present, masks)
        step(present, {m: ~x for m, x in masks.items()})
    assert len(traces) == 1


def test_build_head_names_an_unknown_head_or_field():
    assert build_head("fusion", num_labels=K, width=16, tcn=False) == Fusion(K, 16, tcn=False)
    assert HEADS["fusion"] is Fusion
    with pytest.raises(ValueError, match=r"no head 'fusio': choose one of \('fusion', "):
        build_head("fusio", num_labels=K)
    with pytest.raises(ValueError, match="no field 'atention_bias': did you mean 'attention_bias'"):
        build_head("fusion", num_labels=K, atention_bias=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"modalities": ("vision", "smell")}, "smell.*name at least one"),
        ({"modalities": ()}, "name at least one"),
        ({"attention_bias": True, "quality": False}, "attention_bias = True needs quality"),
    ],
)
def test_contradicting_switches_are_errors(fields, message):
    with pytest.raises(ValueError, match=message):
        head_of(**fields).init(jax.random.key(0), *clips())


def test_drop_modalities_keeps_at_least_one():
    present = np.tile(PRESENT, (5000, 1))
    kept = np.asarray(drop_modalities(jax.random.key(0), jnp.asarray(present), 0.3))
    assert not (kept & ~present).any()
    np.testing.assert_array_equal(kept.any(1), present.any(1))
    three = kept[present.all(1)]
    # All three would go with chance .027, and then each stays as often as another.
    np.testing.assert_allclose(three.mean(0), 0.7 + 0.027 / 3, atol=0.02)
    np.testing.assert_array_equal(drop_modalities(jax.random.key(0), jnp.asarray(present), 0.0), present)
    last = np.asarray(drop_modalities(jax.random.key(1), jnp.asarray(present), 1.0))
    np.testing.assert_array_equal(last.sum(1), present.any(1))
    np.testing.assert_allclose(last[present.all(1)].mean(0), 1 / 3, atol=0.03)


def test_auxiliary_predictions_come_from_one_modality_each_and_change_nothing_else():
    fields = {"tcn": False, "bilstm": False, "dropout": 0.0}
    head, plain, inputs = head_of(auxiliary=True, **fields), head_of(**fields), clips()
    params = variables_of(head)["params"]
    predictions, extras = jax.jit(head.apply)({"params": params}, *inputs)
    without = {name: tree for name, tree in params.items() if name != "auxiliary_readout"}
    np.testing.assert_array_equal(predictions, jax.jit(plain.apply)({"params": without}, *inputs)[0])

    features, masks, _, present = inputs
    readout = params["auxiliary_readout"]
    for place, name in enumerate(MODALITIES):
        steps = features[name] @ params[f"{name}_projection"]["kernel"] + params[f"{name}_projection"]["bias"]
        mean = np.stack([x[mask].mean(0) for x, mask in zip(steps, masks[name], strict=True)])
        x = mean @ readout[f"{name}_hidden"]["kernel"] + readout[f"{name}_hidden"]["bias"]
        expected = readout["prior"] + (x * 0.5 * (1 + erf(x / np.sqrt(2)))) @ readout[f"{name}_output"]["kernel"]
        here = present[:, place]
        np.testing.assert_allclose(extras["unimodal"][name][here], expected[here], rtol=1e-4, atol=1e-5)

    def loss(params):
        return jnp.square(head.apply({"params": params}, *inputs)[1]["unimodal"]["vision"]).sum()

    gradients = jax.jit(jax.grad(loss))(params)
    touched = {part for part, tree in gradients.items() if any(np.any(leaf) for leaf in jax.tree.leaves(tree))}
    assert touched == {"vision_projection", "auxiliary_readout"}
