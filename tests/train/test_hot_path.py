"""Only the step runs between two log lines: counts fetches and compilations, and checks the clock's sum."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax._src.array import ArrayImpl

from emi_jax.inputs.loader import to_device
from emi_jax.inputs.sampling import Epochs
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.lengths import length_buckets
from emi_jax.runs.training import train
from emi_jax.runs.workdir import Workdir
from emi_jax.train.clock import DATA, REST, STEP, Clock
from emi_jax.train.hooks import Log
from emi_jax.train.loop import fit
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.programs import Programs
from emi_jax.train.step import make_step
from tests.configs import tiny_stage1
from tests.fakes import make_dataset
from tests.train.stages import CLIPS, begin, make_batch, tiny_alignment

STEPS, EVERY = 12, 4


@pytest.fixture
def fetches(monkeypatch):
    """The size of every array that is fetched to the host."""
    found = []
    value = ArrayImpl._value.fget

    def spy(array):
        found.append(array.size)
        return value(array)

    monkeypatch.setattr(ArrayImpl, "_value", property(spy))
    return found


def run(tmp_path, mapping, log_every):
    stage, optimizer = tiny_alignment(), optax.sgd(1e-3)
    step = Programs(mapping.map(make_step(stage, optimizer), (REPLICATED, SHARDED, REPLICATED), donate=(0,)))
    state, rng = mapping.replicate((begin(stage, optimizer), jax.random.PRNGKey(0)))
    clock = Clock()
    log = Log(
        every=log_every,
        steps=STEPS,
        first_step=0,
        batch_size=CLIPS,
        clips=lambda step, place: [],
        learning_rate=np.zeros(STEPS),
        clock=clock,
        record=Workdir(tmp_path).record,
        shows=False,
    )
    source = to_device(iter([make_batch(number) for number in range(STEPS)]), mapping.put)
    with jax.transfer_guard("disallow"):  # a GPU refuses implicit transfers; a CPU allows all transfers to the host
        fit(step, state, source, rng, [log], clock, first_step=0, steps=STEPS)
    return step


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_only_metrics_are_fetched_and_once_per_interval(kind, tmp_path, fetches, monkeypatch):
    together = []
    get = jax.device_get

    def device_get(tree):
        together.append(len(tree))
        return get(tree)

    monkeypatch.setattr(jax, "device_get", device_get)
    run(tmp_path, Mapping(kind, jax.devices()[:2]), EVERY)
    assert together == [3, 4, 4, 1]  # one step late, and at the end the last step
    names = set(json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0]))
    scalars = names - {"step", "learning_rate", "clips_per_second", *(n for n in names if "seconds_per_step" in n)}
    assert fetches == [1] * STEPS * len(scalars)


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
@pytest.mark.parametrize("copy", [np.asarray, jnp.asarray])
def test_the_first_step_reuses_the_memory_of_the_replicated_arrays(kind, copy):
    mapping = Mapping(kind, jax.devices()[:2])
    step = mapping.map(lambda state, batch: state + batch.sum(), (REPLICATED, SHARDED), donate=(0,))

    def places(array):
        return [shard.data.unsafe_buffer_pointer() for shard in array.addressable_shards]

    given = copy(np.arange(4096, dtype=np.float32))
    state = mapping.replicate(given)
    before = places(state)
    after = step(state, mapping.put(np.ones(2, np.float32)))
    assert places(after) == before
    np.testing.assert_array_equal(given, np.arange(4096))  # the original is separate and intact
    np.testing.assert_array_equal(after, given + 1)  # each device holds one of the two clips


def test_one_compilation_for_each_function_and_size_over_partial_batches_and_evaluations(tmp_path, caplog):
    """13 clips in batches of 8 and of two lengths, with two evaluations and a trace of a few steps."""
    config, dataset = tiny_stage1(), make_dataset(train=13)
    config.model.pairs, config.loss.audio = ("vision",), 0.0
    config.train.update(epochs=2, evaluate_every=1.0, profile=2)
    config.data.length_buckets = ((0.5, 0.75),)
    experiment = Experiment.open(config, dataset, tmp_path, jax.devices()[:1])
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        train(experiment)

    def sizes(split, count, seed):
        plan = Epochs(count, 8, seed, length_buckets(experiment, split))
        return {plan.bucket(step) for step in range(2 * plan.steps)}

    steps, forward = sizes("train", 13, 0), sizes("valid", 7, None) | sizes("train", 13, None)  # the probe's clips
    assert (steps, forward) == ({0, 1}, {0, 1})
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert sum("valid/mean/recall@5" in record for record in records) == 2
    messages = [record.getMessage() for record in caplog.records]
    mapped = [message for message in messages if "Compiling jit(_fun)" in message]  # any function mapped by pmap
    assert len(mapped) == len(steps) + len(forward), "the step and the forward pass, once for each size"
    (trace,) = (tmp_path / "trace").rglob("*.xplane.pb")
    assert b"step_num" in trace.read_bytes()


def test_the_clock_accounts_for_all_the_time():
    began = time.perf_counter()
    clock = Clock()
    with clock.measure(DATA):
        time.sleep(0.02)
    with clock.measure(STEP):
        time.sleep(0.01)
    with clock.measure(STEP):
        time.sleep(0.01)
    time.sleep(0.02)
    spent, ended = clock.lap(), time.perf_counter()
    assert set(spent) == {DATA, STEP, REST}
    assert all(seconds >= 0.02 for seconds in spent.values())
    assert sum(spent.values()) <= ended - began + 1e-9
    again = clock.lap()
    assert again[DATA] == again[STEP] == 0.0
    assert sum(spent.values()) + again[REST] <= time.perf_counter() - began + 1e-9
