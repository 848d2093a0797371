"""Averages of the parameters against NumPy's mean and the recursion of the moving average."""

import jax
import numpy as np
import optax
import pytest

from emi_jax.train.averaging import averaging
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.step import create_state, make_step
from tests.train.stages import make_batch, tiny_intensity, tiny_params

STEPS = 4
MOVING = (0.6561, 0.0729, 0.081, 0.09, 0.1)
"""Weights of the initial parameters and of those after each of four steps in a moving average of decay 0.9."""


@pytest.mark.parametrize(
    ("ema", "swa", "weights"),
    [
        (0.0, 0.5, (0, 0, 0, 0.5, 0.5)),
        (0.0, 1.0, (0, 0.25, 0.25, 0.25, 0.25)),
        (0.0, 0.01, (0, 0, 0, 0, 1)),
        (0.9, 0.0, MOVING),
    ],
)
def test_the_average_of_a_run_equals_its_definition(ema, swa, weights):
    stage, optimizer, mapping = tiny_intensity(), optax.sgd(0.3), Mapping("shard_map", jax.devices()[:1])
    step = mapping.map(make_step(stage, optimizer, averaging(ema, swa, STEPS)), (REPLICATED, SHARDED, REPLICATED))
    start = create_state(tiny_params(stage), {"towers": {"never": np.zeros(1)}}, optimizer, averaged=True)
    state, rng = mapping.replicate((start, jax.random.PRNGKey(0)))
    history = [start.params]
    for number in range(STEPS):
        state, _ = step(state, mapping.put(make_batch(number)), rng)
        history.append(jax.device_get(state.params))
    wanted = jax.tree.map(lambda *leaves: sum(w * x for w, x in zip(weights, leaves, strict=True)), *history)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6), state.average, wanted)
    jax.tree.map(np.testing.assert_array_equal, state.evaluated_params, state.average)


def test_a_run_without_an_average_evaluates_its_parameters():
    assert averaging(0.0, 0.0, STEPS) is None
    assert create_state({"x": np.ones(2)}, {}, optax.sgd(0.1)).evaluated_params["x"].tolist() == [1, 1]


def test_the_last_quarter_begins_after_three_quarters():
    weight = averaging(0.0, 0.25, 100)
    assert [float(weight(np.int32(step))) for step in (1, 75, 76, 77, 100)] == [1, 1, 1, 0.5, pytest.approx(1 / 25)]
