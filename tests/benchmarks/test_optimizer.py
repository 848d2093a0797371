"""Ten AdamW steps with warm-up, clipping and decay, in double precision: Adam amplifies the rounding of float32."""

import re

import jax
import numpy as np
import optax
import pytest
from flax import traverse_util

torch = pytest.importorskip("torch")

from benchmarks.comparison import batches, ours, theirs  # noqa: E402
from benchmarks.comparison.twin import weights  # noqa: E402
from benchmarks.comparison.twin.optimizer import adamw, make_step, schedule  # noqa: E402
from emi_jax.train import optimizer as our_optimizer  # noqa: E402
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping  # noqa: E402
from emi_jax.train.parameters import split  # noqa: E402
from emi_jax.train.step import create_state  # noqa: E402
from emi_jax.train.step import make_step as our_make_step  # noqa: E402
from tests.benchmarks import tiny  # noqa: E402

STEPS, WARMUP, RATE, DECAY, CLIP = 10, 4, 1e-2, 0.1, 0.02
TOLERANCE = 1e-4  # of how far each tensor has come; PyTorch's clipping adds 1e-6 to the norm


def both(stage, twin, stage_towers, found, frozen):
    """Parameters before, after our ten steps, and after the twin's."""
    with ours.float64():
        start = {path: value.astype(np.float64) for path, value in ours.draw(stage, std=0.2).items()}
        twin = twin.double().train()
        paths = weights.load(twin, start, stage_towers)
    rule = our_optimizer.NOT_DECAYED
    take = make_step(
        twin,
        adamw(twin, DECAY, lambda name, _: not re.search(rule, paths[name])),
        schedule(RATE, 0.0, WARMUP, STEPS),
        CLIP,
    )
    for batch in found:
        take(tiny.torch_batch(batch))

    with ours.float64():
        theirs_after = weights.fetch(twin, start, stage_towers)
        trained, held = split(ours.tree(start), frozen, "frozen")
        optimizer = our_optimizer.make_optimizer(
            trained,
            our_optimizer.schedule(RATE, 0.0, WARMUP, STEPS),
            weight_decay=DECAY,
            clip_norm=CLIP,
            rate_factors=((".*", 1.0),),
        )
        mapping = Mapping("shard_map", jax.devices()[:1])
        step = mapping.map(our_make_step(stage, optimizer), (REPLICATED, SHARDED, REPLICATED))
        state, rng = create_state(trained, held, optimizer), jax.random.PRNGKey(0)
        for batch in found:
            state, metrics = step(state, batch, rng)
            assert metrics["loss"].dtype == np.float64
            assert metrics["gradient_norm"] > CLIP  # so that clipping is at work
        after = jax.device_get(state.evaluated)
    return start, traverse_util.flatten_dict(after, sep="/"), theirs_after


def test_stage_1():
    found = [tiny.clips(seed) for seed in range(STEPS)]
    with ours.float64():
        stage = ours.alignment(tiny.ENCODERS, tiny.SIZES, tiny.PAIRS, found[0], np.float64)
    twin = theirs.alignment(tiny.ENCODERS, tiny.SIZES, tiny.PAIRS)
    assert_came_the_same_way(*both(stage, twin, stage.model.towers, found, ()))


def test_stage_2():
    found = [batches.features(np.random.default_rng(seed), tiny.SIZES, tiny.ENCODERS) for seed in range(STEPS)]
    with ours.float64():
        stage = ours.intensity(tiny.ENCODERS, tiny.SIZES, tiny.clips(), np.float64, modality_dropout=0.0, **tiny.FUSION)
    twin = theirs.intensity(tiny.ENCODERS, tiny.SIZES, modality_dropout=0.0, **tiny.FUSION)
    assert_came_the_same_way(*both(stage, twin, stage.towers, found, ("^towers/",)))


def assert_came_the_same_way(start, ours_after, theirs_after):
    moved = {path: theirs_after[path] - start[path] for path in start}
    tiny.assert_agree({path: ours_after[path] - start[path] for path in start}, moved, TOLERANCE)
    assert any(np.abs(change).max() > 0.5 * RATE for change in moved.values())


@pytest.mark.parametrize("step", [0, 1, WARMUP, 7, STEPS])
def test_the_schedule_equals_optax(step):
    expected = optax.warmup_cosine_decay_schedule(0.0, RATE, WARMUP, STEPS, 1e-3)
    assert schedule(RATE, 1e-3, WARMUP, STEPS)(step) == pytest.approx(float(expected(step)), rel=1e-6, abs=1e-9)
