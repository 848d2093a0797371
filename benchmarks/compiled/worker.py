"""Compiles and times one variant of `benchmarks.compiled.study` in this process."""

import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from benchmarks.comparison import batches, ours
from benchmarks.comparison.cases import CLIP, DECAY, RATE, STEPS, WARMUP
from benchmarks.comparison.shapes import ENCODERS, PAIR_WEIGHTS, Sizes
from benchmarks.comparison.worker import hold_threads
from emi_jax.models.bilstm import GatedBiLSTM
from emi_jax.models.transformer import Layer, TransformerLayer
from emi_jax.train.mapping import AXIS, REPLICATED, SHARDED, Mapping
from emi_jax.train.optimizer import make_optimizer, schedule
from emi_jax.train.step import create_state, make_step

MIN_STEPS = 3
LAYERS = 12
SEQUENCES = 8, 64
"""Batch and length of the transformer's input."""
BATCH = Sizes(16, 2, 1.0, 16, 96)
"""Sizes for stage 1 over devices: small, since eight devices share a few cores."""

POLICIES = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_saveable,
    "dots_no_batch": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def main() -> None:
    """Reads the variant and writes its row."""
    task, out = json.loads(sys.argv[1]), Path(sys.argv[2])
    hold_threads(task["threads"])
    prepare = {"stage1": _stage1, "stack": _stack, "bilstm": _bilstm}[task["work"]]
    function, state, inputs = prepare(task)
    start = time.perf_counter()
    compiled = function.lower(state, *inputs).compile()
    seconds = time.perf_counter() - start
    plan = compiled.memory_analysis()

    times: list[float] = []
    for _ in range(2):
        state = jax.block_until_ready(compiled(state, *inputs))
    begun, used = time.perf_counter(), time.process_time()
    while len(times) < MIN_STEPS or time.perf_counter() - begun < task["seconds"]:
        start = time.perf_counter()
        state = jax.block_until_ready(compiled(state, *inputs))
        times.append(time.perf_counter() - start)
    used = time.process_time() - used
    low, median, high = statistics.quantiles(times, n=4)
    row = {
        "compile_s": seconds,
        "step_ms": 1e3 * median,
        "spread_ms": [1e3 * low, 1e3 * high],
        "cpu_ms": 1e3 * used / len(times),
        "temp_mib": plan.temp_size_in_bytes / 2**20,
        "alias_mib": plan.alias_size_in_bytes / 2**20,
    }
    out.write_text(json.dumps(row))


def _stage1(task: dict[str, Any]) -> tuple[Any, Any, tuple[Any, ...]]:
    """A stage-1 step over devices; `jit` gives the compiler the whole batch, split over the devices."""
    batch = batches.clips(np.random.default_rng(0), BATCH, ENCODERS["demo"])
    stage = ours.alignment(
        ENCODERS["demo"], BATCH, PAIR_WEIGHTS["demo"], {name: array[:1] for name, array in batch.items()}
    )
    params = ours.tree(ours.draw(stage))
    rate = schedule(RATE, 0.0, WARMUP, STEPS)
    optimizer = make_optimizer(params, rate, weight_decay=DECAY, clip_norm=CLIP, rate_factors=((".*", 1.0),))
    step = make_step(stage, optimizer)
    only_state = cast(Callable, lambda state, batch, rng: step(state, batch, rng)[0])
    mapping = Mapping("pmap" if task["mapping"] == "pmap" else "shard_map")
    state = mapping.replicate(create_state(params, {}, optimizer))
    batch, rng = mapping.put(batch), mapping.replicate(jax.random.PRNGKey(0))
    if task["mapping"] == "jit":
        # The step needs a named axis: here one of length 1 around the whole batch.
        whole = jax.vmap(only_state, in_axes=(None, 0, None), axis_name=AXIS)

        def alone(state: Any, batch: Any, rng: Array) -> Any:
            return jax.tree.map(lambda x: x[0], whole(state, jax.tree.map(lambda x: x[None], batch), rng))

        function: Any = jax.jit(alone, donate_argnums=0)
    else:
        function = mapping.map(only_state, (REPLICATED, SHARDED, REPLICATED), donate=(0,))
    return function, state, (batch, rng)


class _Stack(nn.Module):
    """Transformer layers, unrolled or by `nn.scan` over stacked parameters."""

    layer: Layer
    scan: bool
    remat: str
    unroll: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps x [B, T, D] to [B, T, D]."""
        make: Any = TransformerLayer
        if self.remat != "none":
            make = nn.remat(make, policy=POLICIES[self.remat], prevent_cse=not self.scan, static_argnums=(3,))
        if not self.scan:
            for index in range(LAYERS):
                x = make(self.layer, name=f"layers_{index}")(x, None, True)
            return x
        repeated = nn.scan(
            lambda layer, x, _: (layer(x, None, True), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=LAYERS,
            unroll=self.unroll,
        )
        return repeated(make(self.layer, name="layers"), x, None)[0]


def _stack(task: dict[str, Any]) -> tuple[Any, Any, tuple[Any, ...]]:
    """An AdamW step of a stack of layers."""
    width = task["width"]
    layer = Layer(width // 64, 4 * width, dtype=jnp.dtype(task["dtype"]))
    stack = _Stack(layer, task["scan"], task["remat"], task.get("unroll", 1))
    x = np.random.default_rng(0).standard_normal((*SEQUENCES, width), np.float32)
    params = ours.tree(ours.draw_like(jax.eval_shape(stack.init, jax.random.key(0), x)["params"]))
    optimizer = optax.adamw(RATE)

    def step(state: tuple[Any, Any], x: Array) -> tuple[Any, Any]:
        params, opt_state = state
        gradients = jax.grad(lambda params: jnp.square(stack.apply({"params": params}, x)).mean())(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    function = jax.jit(step, donate_argnums=(0,) if task["donate"] else ())
    return function, jax.device_put((params, optimizer.init(params))), (jax.device_put(x),)


def _bilstm(task: dict[str, Any]) -> tuple[Any, Any, tuple[Any, ...]]:
    """The gradients of the BiLSTM with unrolled scans."""
    x, mask, gradient = batches.sequences(np.random.default_rng(0), Sizes(16, 0, 0.0, 0, 256), 200)
    module = GatedBiLSTM(256)
    params = ours.tree(ours.draw_like(jax.eval_shape(module.init, jax.random.key(0), x, mask)["params"]))

    def step(params: Any, x: Array) -> Any:
        with mock.patch.object(lax, "scan", functools.partial(lax.scan, unroll=task["unroll"])):
            gradients = jax.grad(lambda params: (module.apply({"params": params}, x, mask) * gradient).sum())(params)
        return jax.tree.map(lambda parameter, change: parameter - 1e-6 * change, params, gradients)

    return jax.jit(step, donate_argnums=0), jax.device_put(params), (jax.device_put(x),)


if __name__ == "__main__":
    main()
