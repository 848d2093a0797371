"""The step of stage 2 that also trains the text tower, with and without the feature cache of the other towers.

python -m benchmarks.compiled.finetune_step

The preset `vidmimic2,finetune` at base shapes with random weights: ViT-B/16 on 16 frames of 224 pixels, wav2vec2-base
on 12 s, BERT-base on 128 tokens; loss, gradients and AdamW on one device. Each row is measured in a separate process.
"""

import argparse
import dataclasses
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.comparison import batches, ours
from benchmarks.comparison.ours import Encoders
from benchmarks.comparison.shapes import NUM_LABELS, Sizes
from configs import stage2
from emi_jax.memory import restart_with_tuned_malloc
from emi_jax.models.fusion import Fusion
from emi_jax.stages.intensity import Intensity
from emi_jax.train import parameters
from emi_jax.train.mapping import REPLICATED, SHARDED, Mapping
from emi_jax.train.optimizer import make_optimizer
from emi_jax.train.step import Batch, create_state, make_step

CONFIG = stage2.get_config("vidmimic2,finetune")
TRAINED = ("text",)
"""The towers that the preset trains."""
ENCODERS: Encoders = {
    name: {"hidden_size": 768, **CONFIG.model[name].scratch.to_dict()} for name in ("vision", "audio", "text")
}
CACHES = {"none": (), "frozen towers": ("vision", "audio")}
"""The modalities that are read from the cache in each row."""


def sizes_of(batch: int) -> Sizes:
    """The sizes of the preset."""
    data, head = CONFIG.data, CONFIG.model.head.fusion
    return Sizes(batch, data.num_frames, data.seconds, data.num_tokens, head.width, head.num_heads)


def make_batch(sizes: Sizes, encoders: Encoders, cached: tuple[str, ...], seed: int = 0) -> Batch:
    """Random clips, of which some modalities are features as from the cache."""
    rng = np.random.default_rng(seed)
    raw = {"vision": ("frame", "frames"), "audio": ("audio", "audio"), "text": ("token", "tokens")}
    clips, features = (make(rng, sizes, encoders) for make in (batches.clips, batches.features))
    dropped = {prefix for name in cached for prefix in raw[name]}
    clips = {name: array for name, array in clips.items() if name.split("_")[0] not in dropped}
    return clips | {name: array for name, array in features.items() if name.startswith(cached)}


def make_stage(sizes: Sizes, encoders: Encoders, **fields: Any) -> Intensity:
    """Stage 2 of the preset with encoders from scratch; `fields` are those of the fusion."""
    dtype = jnp.dtype(CONFIG.model.dtype)
    head = Fusion(NUM_LABELS, sizes.width, num_heads=sizes.num_heads, dtype=dtype, **fields)
    towers = ours.towers(encoders, dtype, CONFIG.model.remat)
    example = make_batch(dataclasses.replace(sizes, batch=1), encoders, ())
    return Intensity(towers, head, example, ours.LABELS, trained_towers=TRAINED)


def measure(sizes: Sizes, encoders: Encoders, cached: tuple[str, ...], steps: int, **fields: Any) -> dict[str, Any]:
    """Times steps; `fields` are those of the fusion.

    Returns:
        `seconds` and `processor` seconds, summed over threads, of the median step; bytes `planned` by XLA; `losses`.
    """
    stage, mapping = make_stage(sizes, encoders, **fields), Mapping("pmap", jax.devices()[:1])
    params = stage.init(jax.random.PRNGKey(0), {})
    trained, frozen = parameters.split(params, CONFIG.train.frozen, "config.train.frozen")
    if cached:
        frozen = {"towers": {name: tower for name, tower in frozen["towers"].items() if name not in cached}}
    optimizer = make_optimizer(
        trained, lambda _: 1e-4, weight_decay=0.05, clip_norm=1.0, rate_factors=CONFIG.train.rate_factors
    )
    state, rng = mapping.replicate((create_state(trained, frozen, optimizer), jax.random.PRNGKey(0)))
    batch = mapping.put(make_batch(sizes, encoders, cached))
    step = mapping.map(make_step(stage, optimizer), (REPLICATED, SHARDED, REPLICATED), donate=(0,))
    compiled = step.lower(state, batch, rng).compile()
    memory, seconds, processor, losses = compiled.memory_analysis(), [], [], []
    for _ in range(steps):
        begun, busy = time.perf_counter(), time.process_time()
        state, metrics = compiled(state, batch, rng)
        losses.append(float(jax.block_until_ready(metrics["loss"])))
        seconds.append(time.perf_counter() - begun)
        processor.append(time.process_time() - busy)
    planned = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    planned += memory.output_size_in_bytes - memory.alias_size_in_bytes
    typical = {"seconds": seconds, "processor": processor}
    return {name: statistics.median(each[1:] or each) for name, each in typical.items()} | {
        "planned": planned,
        "losses": losses,
    }


def main() -> None:
    """Prints a table; with `--cache`, the one row of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4, help="the first one is not counted")
    parser.add_argument("--cache", choices=CACHES, help="measure this row alone")
    options = parser.parse_args()
    if options.cache is None:
        device, cores = jax.devices()[0].device_kind, os.cpu_count()
        print(f"{device}, {cores} cores, batch {options.batch_size}, {CONFIG.model.dtype}\n")
        print("| cached | seconds a step | processor seconds | planned by XLA | resident |")
        print("| --- | --- | --- | --- | --- |", flush=True)
        for name in CACHES:
            subprocess.run([sys.executable, "-m", "benchmarks.compiled.finetune_step", *sys.argv[1:], "--cache", name])
        return
    found = measure(sizes_of(options.batch_size), ENCODERS, CACHES[options.cache], options.steps)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    row = f"{found['seconds']:.2f} | {found['processor']:.2f} | {found['planned'] / 2**30:.1f} GiB | {resident:.1f} GiB"
    print(f"| {options.cache} | {row} |", flush=True)


if __name__ == "__main__":
    restart_with_tuned_malloc()
    main()
