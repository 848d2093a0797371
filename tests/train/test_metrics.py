"""What the log reports about a step: gradient norms by part, and the share of the devices' peak."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emi_jax.runs.workdir import Workdir
from emi_jax.train import flops
from emi_jax.train.clock import STEP, Clock
from emi_jax.train.hooks import Log
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.step import gradient_norms
from emi_jax.train.utilisation import peak_flops


def test_gradient_norms_are_those_of_the_parts_and_of_all():
    rng = np.random.default_rng(0)
    tree = {
        "towers": {"text": {"encoder": {"a": rng.normal(size=(3, 4)), "b": rng.normal(size=4)}}},
        "fusion": {"tcn": {"kernel": rng.normal(size=5)}, "query": rng.normal(size=2)},
    }
    text, tcn = tree["towers"]["text"]["encoder"], tree["fusion"]["tcn"]["kernel"]
    expected = {
        "gradient_norm/towers/text": np.linalg.norm(np.concatenate([text["a"].ravel(), text["b"]])),
        "gradient_norm/fusion/tcn": np.linalg.norm(tcn),
        "gradient_norm/fusion": np.linalg.norm(tree["fusion"]["query"]),
    }
    expected["gradient_norm"] = np.linalg.norm(list(expected.values()))
    found = gradient_norms(jax.tree.map(jnp.asarray, tree))
    assert found.keys() == expected.keys()
    for name, norm in expected.items():
        assert float(found[name]) == pytest.approx(norm, rel=1e-6)


def test_a_run_records_the_gradient_norm_of_each_part(trained):
    record = next(record for record in Workdir(trained[1]).metrics() if "loss" in record)
    parts = {name: value for name, value in record.items() if name.startswith("gradient_norm/")}
    assert {"gradient_norm/fusion/tcn", "gradient_norm/fusion/bilstm", "gradient_norm/fusion/quality"} <= parts.keys()
    assert not any("towers" in name for name in parts)  # which are frozen


def test_the_logged_learning_rate_is_that_of_the_logged_step(trained):
    """Step n, counted from 1, uses the schedule's value at n - 1, so that the first one has a learning rate of 0."""
    config = trained[0].config.train
    found = {line["step"]: line["learning_rate"] for line in Workdir(trained[1]).metrics() if "learning_rate" in line}
    steps = len(found)
    warmup = config.warmup_epochs * steps / config.epochs
    expected = {}
    for number in range(steps):
        cosine = (1 + np.cos(np.pi * (number - warmup) / (steps - warmup))) / 2
        decayed = config.final_rate + (config.learning_rate - config.final_rate) * cosine
        expected[number + 1] = config.learning_rate * number / warmup if number < warmup else decayed
    assert found == pytest.approx(expected, rel=1e-5)
    assert len(set(found.values())) == steps == 4


@pytest.mark.parametrize(
    ("kind", "dtype", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", 989e12),
        ("NVIDIA H100 PCIe", "bfloat16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "float32", 156e12),
        ("TPU v5 lite", "bfloat16", 197e12),
        ("NVIDIA GeForce GTX 1080", "bfloat16", None),
        ("cpu", "float32", None),
    ],
)
def test_the_peak_of_known_devices(kind, dtype, expected):
    assert peak_flops(kind, dtype) == expected


def test_the_peak_of_full_float32_is_not_known():
    with jax.default_matmul_precision("highest"):
        assert peak_flops("NVIDIA A100-SXM4-80GB", "float32") is None
        assert peak_flops("NVIDIA A100-SXM4-80GB", "bfloat16") == 312e12


@pytest.mark.parametrize("kind", ["pmap", "shard_map"])
def test_operations_of_a_mapped_step_are_those_of_one_device(kind):
    mapping = Mapping(kind, jax.devices()[:4])
    step = mapping.map(lambda w, x: jax.lax.psum((x @ w).sum(), "data"), (REPLICATED, SHARDED))
    w, x = mapping.replicate(np.ones((3, 5), np.float32)), mapping.put(np.ones((8, 3), np.float32))
    assert flops.count(step, w, x) == 2 * 2 * 3 * 5


def test_utilisation_is_the_time_at_peak_over_the_time_of_a_step():
    recorded, clock = [], Clock()
    log = Log(
        every=2,
        steps=2,
        first_step=0,
        batch_size=4,
        clips=lambda step, place: [],
        learning_rate=np.zeros(2),
        clock=clock,
        record=lambda step, metrics: recorded.append(metrics),
        shows=False,
    )
    log.seconds_at_peak = lambda: 0.25
    clock._spent[STEP] = 1.0
    metrics = {"loss": jnp.ones(()), "gradient_norm": jnp.ones(())}
    for step in (1, 2):
        log(step, None, metrics)
    (first, _) = recorded  # of step 1 alone: metrics are fetched a step late
    assert first["mfu"] == pytest.approx(0.25, rel=0.05)
    assert first["clips_per_second"] == pytest.approx(4, rel=0.05)
