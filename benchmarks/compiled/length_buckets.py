"""Clips a second with all batches padded to the full length, and with batches of clips of similar length.

python -m benchmarks.compiled.length_buckets --scale=small
python -m benchmarks.compiled.length_buckets --scale=base

Lengths are drawn like those of Hume-Vidmimic2: seconds from a normal distribution of mean 6.9 and deviation 2.8, which
has 95% under 11.5 s, at least 0.1; words from a Poisson distribution, 12 in a clip of mean length, in proportion to its
seconds; 1.3 tokens a word and two special ones. The batches of an epoch of 8,072 clips are planned as in training, with
the sizes and the buckets of the preset `vidmimic2`. Steps of each size are timed in turn in one process; clips a second
are those of a whole epoch at the median time of each size, and without buckets at that of the full size. `features`
extracts the features of all towers; `stage1` and `cached` are training steps, of all towers and of the fusion on cached
features.
"""

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.comparison import batches, ours
from benchmarks.comparison.shapes import ENCODERS, Sizes, audio_steps
from benchmarks.compiled.paper_scale import FROZEN, RATE_FACTORS
from configs import stage2
from emi_jax.inputs.lengths import LengthBuckets, with_steps
from emi_jax.inputs.sampling import Epochs
from emi_jax.memory import restart_with_tuned_malloc
from emi_jax.modalities import MODALITIES, SAMPLE_RATE
from emi_jax.train import parameters
from emi_jax.train.mapping import REPLICATED, SHARDED
from emi_jax.train.mapping import Mapping as DeviceMapping
from emi_jax.train.optimizer import make_optimizer
from emi_jax.train.programs import Programs
from emi_jax.train.step import Batch, create_state, make_step

CLIPS = 8072
SECONDS, DEVIATION, SHORTEST = 6.9, 2.8, 0.1
WORDS, TOKENS_PER_WORD, SPECIAL = 12, 1.3, 2
WORKS = ("features", "stage1", "cached")
CONFIG = stage2.get_config("vidmimic2")
DATA = CONFIG.data
SCALES = {
    "small": ENCODERS["demo"] | {"text": ENCODERS["demo"]["text"] | {"max_position_embeddings": DATA.num_tokens}},
    "base": ENCODERS["paper"],
}
DTYPE = {"small": "float32", "base": CONFIG.model.dtype}
"""As in the presets of these encoders."""
BATCH = {"small": dict.fromkeys(WORKS, 16), "base": {"features": 4, "stage1": 2, "cached": 16}}
"""Clips in a batch; the encoders of base size train on two at a time, for which the memory of a laptop is enough."""

Step = Callable[[Batch], Any]


def draw_lengths(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds, float [n], and tokens, int [n], of clips."""
    rng = np.random.default_rng(0)
    seconds = np.maximum(rng.normal(SECONDS, DEVIATION, count), SHORTEST)
    words = rng.poisson(WORDS * seconds / SECONDS)
    return seconds, np.ceil(TOKENS_PER_WORD * words).astype(int) + SPECIAL


def make_buckets(sizes: Sizes, encoders: Mapping[str, Any], fractions: Any, count: int = CLIPS) -> LengthBuckets:
    """The buckets of clips of drawn lengths."""
    seconds, tokens = draw_lengths(count)
    sound = [part * sizes.seconds for part, _ in (*fractions, (1, 1))]
    words = [math.ceil(part * sizes.num_tokens) for _, part in (*fractions, (1, 1))]
    kept = [
        {
            "audio_mask": round(longest * SAMPLE_RATE),
            "audio/mask": audio_steps(longest, encoders["audio"]),
            "token_mask": most,
            "text/mask": most,
        }
        for longest, most in zip(sound, words, strict=True)
    ]
    lengths = [(np.minimum(seconds, sizes.seconds), sound), (np.minimum(tokens, sizes.num_tokens), words)]
    return LengthBuckets.of(lengths, kept)


def make_step_of(work: str, sizes: Sizes, encoders: ours.Encoders, dtype: str, remat: bool) -> Step:
    """A function that runs one batch to the end, compiled for each shape."""
    mapping, example = DeviceMapping("pmap", jax.devices()[:1]), make_batch("features", sizes, encoders)
    if work == "stage1":
        stage: Any = ours.alignment(encoders, sizes, {"vision": 1.0, "audio": 1.0}, example, jnp.dtype(dtype), remat)
    else:
        stage = ours.intensity(encoders, sizes, example, jnp.dtype(dtype))
    shapes = jax.eval_shape(lambda: stage.init(jax.random.key(0), {}))
    if work == "features":
        params = mapping.replicate(ours.tree(ours.draw_like(shapes["towers"])))

        def features(towers: Any, batch: Batch) -> Any:
            found = stage.features(towers, batch, MODALITIES)
            return {name: x.astype(jnp.float16) if name.endswith("/features") else x for name, x in found.items()}

        programs = Programs(mapping.map(features, (REPLICATED, SHARDED), output=SHARDED))
        return lambda batch: jax.block_until_ready(programs(params, mapping.put(batch)))
    if work == "cached":
        shapes = {"fusion": shapes["fusion"]}
    frozen = FROZEN if work == "stage1" and encoders["audio"] is ENCODERS["paper"]["audio"] else ()
    trained, held = parameters.split(ours.tree(ours.draw_like(shapes)), frozen, "FROZEN")
    factors = RATE_FACTORS if work == "stage1" else ((".*", 1.0),)
    optimizer = make_optimizer(trained, lambda _: 1e-4, weight_decay=0.05, clip_norm=1.0, rate_factors=factors)
    state, rng = mapping.replicate((create_state(trained, held, optimizer), jax.random.PRNGKey(0)))
    step = Programs(mapping.map(make_step(stage, optimizer), (REPLICATED, SHARDED, REPLICATED), donate=(0,)))

    def take(batch: Batch) -> Any:
        nonlocal state
        state, metrics = step(state, mapping.put(batch), rng)
        return jax.block_until_ready(metrics["loss"])

    return take


def make_batch(work: str, sizes: Sizes, encoders: ours.Encoders) -> Batch:
    """A batch of clips of full length, or of their features as from the cache."""
    rng = np.random.default_rng(0)
    if work == "cached":
        return batches.features(rng, sizes, dict(encoders))
    return batches.clips(rng, sizes, dict(encoders), padded=False)


def measure(step: Step, batch: Batch, buckets: LengthBuckets, rounds: int) -> list[float]:
    """Median seconds of a step at the size of each bucket, the full one last; the first round is not counted."""
    cut = [with_steps(batch, kept, axis=1) for kept in buckets.sizes]
    taken: list[list[float]] = [[] for _ in cut]
    for _ in range(1 + rounds):
        for seconds, short in zip(taken, cut, strict=True):
            begun = time.perf_counter()
            step(short)
            seconds.append(time.perf_counter() - begun)
    return [statistics.median(seconds[1:]) for seconds in taken]


def speeds(seconds: list[float], buckets: LengthBuckets, batch_size: int) -> tuple[float, float]:
    """Clips a second of an epoch at the full size, and in buckets."""
    clips = len(buckets.of_clips)
    plan = Epochs(clips, batch_size, 0, buckets)
    in_buckets = sum(seconds[plan.bucket(number)] for number in range(plan.steps))
    return clips / (plan.steps * seconds[-1]), clips / in_buckets


def main() -> None:
    """Prints a table with a row for each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="small", help="encoders: those of the demo, or base sizes")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=WORKS)
    parser.add_argument("--batch-size", type=int, default=0, help="by default that of the scale")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), help="by default that of the scale")
    parser.add_argument("--rounds", type=int, default=3, help="timed steps of each size, after one that is not counted")
    options = parser.parse_args()
    encoders: Any = SCALES[options.scale]
    dtype = options.dtype or DTYPE[options.scale]
    head = CONFIG.model.head.fusion
    print(f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {options.scale}, {dtype}\n")
    print("| work | batch | seconds of a step at 3, 6, 9 and 12 s | clips/s | clips/s in buckets | ratio |")
    print("| --- | ---: | --- | ---: | ---: | ---: |", flush=True)
    for work in options.works:
        batch_size = options.batch_size or BATCH[options.scale][work]
        sizes = Sizes(batch_size, DATA.num_frames, DATA.seconds, DATA.num_tokens, head.width, head.num_heads)
        buckets = make_buckets(sizes, encoders, DATA.length_buckets)
        step = make_step_of(work, sizes, encoders, dtype, CONFIG.model.remat)
        seconds = measure(step, make_batch(work, sizes, encoders), buckets, options.rounds)
        full, short = speeds(seconds, buckets, sizes.batch)
        steps = ", ".join(f"{taken:.3g}" for taken in seconds)
        print(f"| {work} | {batch_size} | {steps} | {full:.3g} | {short:.3g} | {short / full:.2f} |", flush=True)
        del step  # its parameters


if __name__ == "__main__":
    restart_with_tuned_malloc()
    main()
