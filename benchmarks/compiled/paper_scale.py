"""The training step of stage 1 at the scale of the paper: compile time, memory, FLOPs, and steps without NaN.

python -m benchmarks.compiled.paper_scale
python -m benchmarks.compiled.paper_scale --steps=20

ViT-B/16 on 16 frames of 224 pixels, wav2vec2-base on 12 s, BERT-base on 128 tokens (the preset `vidmimic2`), with
random weights: loss, gradients and AdamW on one device. Without `--steps` the step is lowered and compiled, not run.
"""

import argparse
import dataclasses
import functools
import math
import resource
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.comparison import batches, ours
from benchmarks.comparison.ours import Encoders
from benchmarks.comparison.shapes import Sizes
from emi_jax.memory import restart_with_tuned_malloc
from emi_jax.stages.alignment import Alignment
from emi_jax.train import parameters
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.optimizer import make_optimizer
from emi_jax.train.step import Batch, TrainState, create_state, make_step

PAPER = Sizes(batch=2, num_frames=16, seconds=12.0, num_tokens=128, width=256)
ENCODERS: Encoders = {
    name: {"model_type": kind} for name, kind in (("vision", "vit"), ("audio", "wav2vec2"), ("text", "bert"))
}
"""Hugging Face's defaults are the base sizes."""
FROZEN = ("^towers/audio/encoder/features/",)
RATE_FACTORS = (("^towers/", 0.1), (".*", 1.0))


def make_batch(encoders: Encoders, sizes: Sizes, seed: int = 0) -> Batch:
    """Random full-length clips with different transcripts."""
    batch = batches.clips(np.random.default_rng(seed), sizes, encoders, padded=False)
    return batch | {"transcript": np.arange(sizes.batch, dtype=np.int32)}


def make_stage(encoders: Encoders, sizes: Sizes, dtype: str, remat: bool) -> Alignment:
    """Stage 1 of the preset with encoders from scratch."""
    example = make_batch(encoders, sizes)
    return ours.alignment(encoders, sizes, {"vision": 1.0, "audio": 1.0}, example, jnp.dtype(dtype), remat)


@dataclasses.dataclass(frozen=True)
class Training:
    """A stage ready to be trained.

    Attributes:
        stage: the stage.
        params: shapes of all parameters.
        step: the mapped step.
        begin: makes the state before the first step from all parameters.
    """

    stage: Alignment
    params: Any
    step: Any
    begin: Callable[[Any], TrainState]


def make_training(stage: Alignment, mapping: Mapping) -> Training:
    """Builds a training with the preset's frozen parameters and optimiser."""
    params = jax.eval_shape(lambda rng: stage.init(rng, {}), jax.random.PRNGKey(0))
    trained, _ = parameters.split(params, FROZEN, "FROZEN")
    optimizer = make_optimizer(trained, lambda _: 1e-4, weight_decay=0.05, clip_norm=1.0, rate_factors=RATE_FACTORS)
    step = mapping.map(make_step(stage, optimizer), (REPLICATED, SHARDED, REPLICATED), donate=(0,))

    def begin(full: Any) -> TrainState:
        return create_state(*parameters.split(full, FROZEN, "FROZEN"), optimizer)

    return Training(stage, params, step, begin)


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The cost of compiling the step, and the predicted cost of running it.

    Attributes:
        lowering: seconds for tracing and lowering.
        compiling: seconds for compilation by XLA.
        peak_bytes: peak memory of state, batch and temporaries, from XLA's buffer plan.
        flops: FLOPs of one step, counted by XLA before optimisation.
        step: the compiled step.
    """

    lowering: float
    compiling: float
    peak_bytes: int
    flops: float
    step: Any


def compile_step(batch: Batch, training: Training, mapping: Mapping) -> Compiled:
    """Lowers and compiles the step for one device; runs nothing."""
    state, batch = jax.eval_shape(training.begin, training.params), mapping.put(batch)
    begun = time.perf_counter()
    lowered = training.step.lower(state, batch, jax.random.PRNGKey(0))
    lowered_at = time.perf_counter()
    compiled = lowered.compile()
    compiled_at = time.perf_counter()
    memory = compiled.memory_analysis()
    # Donated arguments share memory with the outputs and are counted once.
    peak = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    peak += memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Compiled(
        lowering=lowered_at - begun,
        compiling=compiled_at - lowered_at,
        peak_bytes=peak,
        flops=lowered.cost_analysis()["flops"],
        step=compiled,
    )


def run_steps(make: Callable[[int], Batch], training: Training, mapping: Mapping, step: Any, count: int) -> list[float]:
    """The losses of `count` steps, each on the batch that `make` returns for its number.

    Raises:
        FloatingPointError: a loss or a norm is not finite.
    """
    state = mapping.replicate(training.begin(training.stage.init(jax.random.PRNGKey(0), {})))
    key = mapping.replicate(jax.random.PRNGKey(0))
    losses: list[float] = []
    for number in range(count):
        state, metrics = step(state, mapping.put(make(number)), key)
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        if not all(map(math.isfinite, values.values())):
            raise FloatingPointError(f"step {number + 1}: {values}")
        losses.append(values["loss"])
        print(f"step {number + 1} of {count}: loss {values['loss']:.4f}", flush=True)
    return losses


def main() -> None:
    """Prints the table, with a line for each form of the step."""
    restart_with_tuned_malloc()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--mapping", choices=("pmap", "shard_map"), default="pmap")
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16"], choices=("bfloat16", "float32"))
    parser.add_argument("--remat", nargs="+", type=int, default=[1], choices=(0, 1))
    parser.add_argument("--steps", type=int, default=0, help="how many steps to run, each on new random clips")
    options = parser.parse_args()
    sizes, mapping = dataclasses.replace(PAPER, batch=options.batch_size), Mapping(options.mapping, jax.devices()[:1])
    print(f"{jax.devices()[0].device_kind}, batch {sizes.batch}, {options.mapping}")
    print("| products | remat | parameters | lower | compile | peak memory | FLOPs a step |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for dtype in options.dtypes:
        for remat in map(bool, options.remat):
            training = make_training(make_stage(ENCODERS, sizes, dtype, remat), mapping)
            compiled = compile_step(make_batch(ENCODERS, sizes), training, mapping)
            form = f"{dtype} | {'yes' if remat else 'no'} | {parameters.count(training.params):,}"
            times = f"{compiled.lowering:.0f} s | {compiled.compiling:.0f} s"
            needs = f"{compiled.peak_bytes / 2**30:.1f} GiB | {compiled.flops / 1e12:.2f} T"
            print(f"| {form} | {times} | {needs} |", flush=True)
            if options.steps:
                begun = time.perf_counter()
                run_steps(
                    functools.partial(make_batch, ENCODERS, sizes), training, mapping, compiled.step, options.steps
                )
                seconds = (time.perf_counter() - begun) / options.steps
                resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
                print(f"{options.steps} steps, all finite, {seconds:.1f} s each, at most {resident:.1f} GiB resident")


if __name__ == "__main__":
    main()
