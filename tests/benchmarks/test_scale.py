"""The formulas of `benchmarks.scale` against what XLA counts, at small sizes."""

import re

import jax
import numpy as np
import pytest

from benchmarks.comparison import batches, ours
from benchmarks.comparison.shapes import ENCODERS, Sizes
from benchmarks.compiled import paper_scale
from benchmarks.scale import __main__ as scale
from benchmarks.scale import formulas
from emi_jax.train import flops, parameters
from emi_jax.train.mapping import Mapping

SIZES = Sizes(batch=4, num_frames=2, seconds=0.5, num_tokens=12, width=64, num_heads=2)
TINY = ENCODERS["tiny"]
DEVICES = 2


def prepare(devices, remat=False):
    """A training of stage 1, a batch, and the arguments of its step."""
    mapping = Mapping("shard_map", jax.devices()[:devices])
    training = paper_scale.make_training(paper_scale.make_stage(TINY, SIZES, "float32", remat), mapping)
    state = jax.eval_shape(training.begin, training.params)
    batch = paper_scale.make_batch(TINY, SIZES)
    return training, batch, (state, mapping.put(batch), jax.random.PRNGKey(0))


@pytest.fixture(scope="module")
def lowered():
    """The step of stage 1 on two devices, as XLA gets it."""
    training, _, arguments = prepare(DEVICES)
    return training.step.lower(*arguments)


@pytest.mark.parametrize("remat", [False, True])
def test_operations_of_stage_1_equal_those_of_its_products(remat):
    training, _, arguments = prepare(1, remat)
    expected = SIZES.batch * formulas.alignment(TINY, SIZES, remat).step
    expected += formulas.contrastive(SIZES.batch, SIZES.batch, SIZES.width)
    assert flops.count(training.step, *arguments) == pytest.approx(expected, rel=0.01)


def test_operations_of_stage_1_are_most_of_those_that_xla_counts(lowered):
    """XLA also counts norms, activations and AdamW, a quarter of the work of so small a model."""
    expected = SIZES.batch // DEVICES * formulas.alignment(TINY, SIZES).step
    expected += formulas.contrastive(SIZES.batch // DEVICES, SIZES.batch, SIZES.width)
    assert expected < lowered.cost_analysis()["flops"] < 1.4 * expected


@pytest.mark.parametrize("cached", [False, True])
def test_operations_of_stage_2_equal_those_of_its_products(cached):
    rng, encoders = np.random.default_rng(0), TINY
    clips = batches.clips(rng, SIZES, encoders)
    batch = batches.features(rng, SIZES, encoders) if cached else clips
    stage = ours.intensity(encoders, SIZES, clips)
    params = jax.eval_shape(lambda: stage.init(jax.random.PRNGKey(0), {}))
    forward = flops.count(stage.forward, params, batch)
    cost = formulas.intensity(encoders, SIZES, cached)
    assert forward == pytest.approx(SIZES.batch * (cost.frozen + cost.trained), rel=0.02)


def test_bytes_between_devices_equal_those_of_the_collectives(lowered):
    training, program = prepare(1)[0], lowered.as_text()
    trained, _ = parameters.split(training.params, paper_scale.FROZEN, "FROZEN")
    assert moved(program, "all_reduce") == pytest.approx(formulas.reduced_bytes(parameters.count(trained)), rel=0.01)
    gathered = formulas.gathered_bytes(SIZES.batch, SIZES.width)
    assert moved(program, "all_gather") == pytest.approx(gathered, rel=0.1)


def moved(program, operation):
    """Bytes of float32 in the results of a collective operation."""
    results = re.findall(rf'"stablehlo\.{operation}"\(.*?\) -> ([^\n]*)', program, re.DOTALL)
    shapes = [shape for types in results for shape in re.findall(r"tensor<((?:\d+x)*)f32>", types)]
    return sum(4 * int(np.prod([int(n) for n in shape.split("x") if n])) for shape in shapes)


def test_bytes_of_state_and_of_what_is_stored_are_in_xlas_plan():
    training, batch, arguments = prepare(1, remat=True)
    plan = training.step.lower(*arguments).compile().memory_analysis()
    trained, frozen = parameters.split(training.params, paper_scale.FROZEN, "FROZEN")
    state = formulas.state_bytes(parameters.count(trained), parameters.count(frozen))
    sent = sum(array.nbytes for name, array in batch.items())
    assert state < plan.argument_size_in_bytes < 1.01 * (state + sent)
    stored = SIZES.batch * formulas.stored_bytes(TINY, SIZES) + formulas.reduced_bytes(parameters.count(trained))
    assert stored < plan.temp_size_in_bytes < 4 * stored


def test_moments_are_split_and_parameters_are_not():
    assert formulas.state_bytes(100, 10) == 4 * 110 + 8 * 100
    assert formulas.state_bytes(100, 10, devices=8) == 4 * 110 + 100


def test_the_document_holds_what_the_command_prints():
    document = (scale.ROOT / "docs" / "scale.md").read_text()
    for name, page in scale.pages(scale.Machine()).items():
        assert f"<!-- {name} -->\n{page}\n<!-- /{name} -->" in document
