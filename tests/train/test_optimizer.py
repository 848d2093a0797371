"""Path patterns, AdamW compared with PyTorch, and Muon with its formula in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from emi_jax.errors import UserError
from emi_jax.train.optimizer import OPTIMIZERS, make_optimizer, muon, schedule
from emi_jax.train.parameters import fingerprint, first_match, merge, split

PARAMS = {
    "towers": {"text": {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}},
    "fusion": {"kernel": np.ones(3, np.float32)},
}


def build(params, **options):
    settings = {"weight_decay": 0.1, "clip_norm": 1e9, "rate_factors": [(".*", 1.0)]}
    return make_optimizer(params, lambda _: 0.01, **(settings | options))


def test_the_first_matching_rule_applies():
    factors = first_match(PARAMS, [("text/kernel", 0.1), ("towers", 0.5), (".*", 1.0)], "field")
    assert factors == {"towers": {"text": {"kernel": 0.1, "bias": 0.5}}, "fusion": {"kernel": 1.0}}


def test_unmatched_patterns_and_uncovered_parameters_are_errors():
    with pytest.raises(UserError, match=r"rates: pattern 'tex/' matches no parameter; parameters start with"):
        first_match(PARAMS, [("tex/", 0.1), (".*", 1.0)], "rates")
    with pytest.raises(UserError, match="rates: no pattern covers the parameter fusion/kernel"):
        first_match(PARAMS, [("towers", 0.1)], "rates")


def test_merge_is_the_inverse_of_split():
    trained, frozen = split(PARAMS, ["^towers/"], "config.train.frozen")
    assert (set(trained), set(frozen)) == ({"fusion"}, {"towers"})
    assert fingerprint(merge(trained, frozen)) == fingerprint(PARAMS)
    with pytest.raises(UserError, match="freezes every parameter"):
        split(PARAMS, [".*"], "config.train.frozen")


def test_fingerprints_depend_on_bits_and_names():
    assert fingerprint(PARAMS) == fingerprint(jax.tree.map(np.array, PARAMS))
    assert fingerprint({"a": np.float32(0.0)}) != fingerprint({"a": np.float32(-0.0)})
    assert fingerprint({"a": np.zeros(2)}) != fingerprint({"b": np.zeros(2)})


def test_warm_up_and_cosine_follow_the_formula():
    rate = schedule(1e-3, 1e-5, 10, 100)
    for step in (0, 5, 10, 55, 100):
        done = (step - 10) / 90
        expected = 1e-3 * step / 10 if step < 10 else 1e-5 + (1e-3 - 1e-5) * (1 + np.cos(np.pi * done)) / 2
        np.testing.assert_allclose(rate(step), expected, rtol=1e-5)
    with pytest.raises(UserError, match="100 warm-up steps leave none of the run's 100 steps"):
        schedule(1e-3, 1e-5, 100, 100)


def test_rate_factors_scale_the_whole_update_decay_included():
    gradients = jax.tree.map(lambda x: 0.3 * jnp.ones_like(x), PARAMS)
    plain, scaled = build(PARAMS), build(PARAMS, rate_factors=[("text", 0.25), (".*", 1.0)])
    one, _ = plain.update(gradients, plain.init(PARAMS), PARAMS)
    other, _ = scaled.update(gradients, scaled.init(PARAMS), PARAMS)
    np.testing.assert_allclose(other["towers"]["text"]["kernel"], 0.25 * one["towers"]["text"]["kernel"], rtol=1e-6)
    np.testing.assert_allclose(other["fusion"]["kernel"], one["fusion"]["kernel"], rtol=1e-6)


def test_a_clip_norm_of_0_leaves_gradients_unclipped():
    gradients = [jax.tree.map(lambda x, size=size: size * jnp.ones_like(x), PARAMS) for size in (0.1, 30.0)]
    decayed = {"towers": {"text": {"kernel": True, "bias": False}}, "fusion": {"kernel": True}}

    def updates(optimizer):
        """Those of the second step: Adam's first one does not depend on the gradients' size."""
        _, state = optimizer.update(gradients[0], optimizer.init(PARAMS), PARAMS)
        return jnp.concatenate(
            [leaf.ravel() for leaf in jax.tree.leaves(optimizer.update(gradients[1], state, PARAMS)[0])]
        )

    unclipped = updates(optax.adamw(0.01, weight_decay=0.1, mask=decayed))
    np.testing.assert_allclose(updates(build(PARAMS, clip_norm=0.0)), unclipped, rtol=1e-6)
    assert jnp.abs(updates(build(PARAMS, clip_norm=1.0)) - unclipped).min() > 1e-4


def test_ten_steps_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    params = {"kernel": rng.standard_normal((3, 4)), "bias": rng.standard_normal(4)}
    gradients = [{name: rng.standard_normal(value.shape) for name, value in params.items()} for _ in range(10)]
    with jax.enable_x64(True):
        ours = jax.tree.map(jnp.asarray, params)
        optimizer = make_optimizer(
            ours, schedule(1e-2, 1e-4, 3, 10), weight_decay=0.1, clip_norm=2.0, rate_factors=[(".*", 1.0)]
        )
        state = optimizer.init(ours)
        for gradient in gradients:
            updates, state = optimizer.update(jax.tree.map(jnp.asarray, gradient), state, ours)
            ours = optax.apply_updates(ours, updates)
        ours = jax.tree.map(np.asarray, ours)

    theirs = {name: torch.nn.Parameter(torch.tensor(value)) for name, value in params.items()}
    groups = [{"params": [theirs["kernel"]]}, {"params": [theirs["bias"]], "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=0.0, weight_decay=0.1)
    for step, gradient in enumerate(gradients):
        rate = 1e-2 * step / 3 if step < 3 else 1e-4 + (1e-2 - 1e-4) * (1 + np.cos(np.pi * (step - 3) / 7)) / 2
        for group in adam.param_groups:
            group["lr"] = rate
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(gradient[name])
        torch.nn.utils.clip_grad_norm_(theirs.values(), 2.0)
        adam.step()
    for name, parameter in theirs.items():
        np.testing.assert_allclose(ours[name], parameter.detach().numpy(), rtol=1e-5)


def test_muon_follows_its_formula_for_matrices_and_adamw_elsewhere():
    rng = np.random.default_rng(0)
    shapes = {"tower": {"kernel": (6, 4), "bias": (4,)}, "table": {"embedding": (5, 4)}, "wide": {"kernel": (3, 7)}}
    params = jax.tree.map(lambda shape: rng.standard_normal(shape), shapes, is_leaf=lambda x: isinstance(x, tuple))
    steps = [jax.tree.map(lambda array: rng.standard_normal(array.shape), params) for _ in range(3)]
    with jax.enable_x64(True):
        found = {}
        for kind in OPTIMIZERS:
            optimizer, ours = build(params, kind=kind), jax.tree.map(jnp.asarray, params)
            state = optimizer.init(ours)
            for gradients in steps:
                updates, state = optimizer.update(gradients, state, ours)
                ours = optax.apply_updates(ours, updates)
            found[kind] = jax.tree.map(np.asarray, ours)

    for part in ("tower", "wide"):
        matrix, momentum = params[part]["kernel"], 0.0
        for step, gradients in enumerate(steps, start=1):
            gradient = gradients[part]["kernel"]
            momentum = 0.95 * momentum + 0.05 * gradient
            ahead = 0.95 * momentum / (1 - 0.95 ** (step + 1)) + 0.05 * gradient / (1 - 0.95**step)  # Nesterov's
            scale = 0.2 * np.sqrt(max(matrix.shape))
            matrix = matrix - 0.01 * (scale * newton_schulz(ahead) + 0.1 * matrix)
        np.testing.assert_allclose(found["muon"][part]["kernel"], matrix, rtol=1e-6)
        assert np.abs(found["muon"][part]["kernel"] - found["adamw"][part]["kernel"]).max() > 1e-3
    for part, name in (("tower", "bias"), ("table", "embedding")):
        np.testing.assert_array_equal(found["muon"][part][name], found["adamw"][part][name])


def newton_schulz(x):
    """Four iterations with the coefficients of Jordan et al. 2024, from the Schatten 4-norm."""
    x = x / np.linalg.norm(np.linalg.svd(x, compute_uv=False), 4)
    for _ in range(4):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def test_muon_makes_the_directions_of_a_matrix_alike():
    gradient = jnp.asarray(np.diag([1.0, 0.3, 0.1, 0.03]))
    optimizer = muon()
    update, _ = optimizer.update({"kernel": gradient}, optimizer.init({"kernel": gradient}))
    np.testing.assert_allclose(np.diag(update["kernel"]) / (0.2 * np.sqrt(4)), np.ones(4), atol=0.35)
