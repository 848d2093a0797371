"""A program for each shape of batches, whose compilation is not part of the time of a step."""

import logging
import time

import jax
import numpy as np

from emi_jax.train.clock import DATA, REST, STEP, Clock
from emi_jax.train.loop import fit
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.programs import Programs


def test_each_shape_is_compiled_once_and_has_its_own_operations(caplog):
    mapping = Mapping("pmap", jax.devices()[:1])
    mapped = mapping.map(lambda w, batch: (batch["x"] @ w).sum(), (REPLICATED, SHARDED))
    programs, w = Programs(mapped, "product", counts=True), mapping.replicate(np.ones((3, 5), np.float32))
    found = []
    with caplog.at_level(logging.INFO):
        for length in (2, 4, 2, 4):
            batch = mapping.put({"x": np.ones((1, length, 3), np.float32)})
            found.append((float(programs(w, batch)), programs.operations))
    assert found == [(2 * 15, 2 * 2 * 15), (4 * 15, 2 * 4 * 15)] * 2
    compiled = [record.getMessage() for record in caplog.records if "compiled" in record.getMessage()]
    assert [message.partition(" for ")[2] for message in compiled] == [
        "batches of x (1, 1, 2, 3)",
        "batches of x (1, 1, 4, 3)",
    ]
    assert programs.compile_seconds > 0


def test_compilation_counts_neither_as_data_nor_as_step():
    class Slow:
        def program(self, state, batch, rng):
            time.sleep(0.05)
            return lambda state, batch, rng: (state + 1, {})

    clock = Clock()
    assert fit(Slow(), 0, iter([None] * 2), None, [], clock, first_step=0, steps=2) == 2
    spent = clock.lap()
    assert spent[REST] >= 0.1
    assert spent[DATA] + spent[STEP] < 0.05
