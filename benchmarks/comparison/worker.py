"""Measures one case on one side in this process and writes the results as JSON; started by `benchmarks.compare`.

python -m benchmarks.comparison.worker --side=jax --case=tcn --dtype=float32 --out=FILE
"""

import argparse
import contextlib
import importlib
import json
import os
import resource
import time
from pathlib import Path
from typing import Any, Literal

from emi_jax.memory import restart_with_tuned_malloc

SIDES = ("jax", "jax.remat", "jax.cudnn", "torch", "torch.compile", "torch.max-autotune")
"""`jax.remat` recomputes the encoders' layers in the backward pass, as the preset `vidmimic2` does; `jax.cudnn` runs
cuDNN's LSTM in stage 2."""
DEFAULT_SIDES = ("jax", "torch", "torch.compile")
KERNELS = ("product", "lstm", "convolution")
"""Operations with a CPU-specific form."""
MIN_STEPS, MAX_STEPS = 3, 200


def main() -> None:
    """Parses the options, measures, and writes the results."""
    restart_with_tuned_malloc()  # on both sides
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--case", required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--frames", type=int, default=0)
    parser.add_argument("--audio-seconds", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--count", action=argparse.BooleanOptionalAction, help="count the operations of a step as well")
    parser.add_argument("--plain", choices=KERNELS, help="an operation of emi_jax.kernels to run in its plain form")
    options = parse_options(parser)
    options.out.write_text(json.dumps(measure(options)))


def parse_options(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parses the options of a measuring process, with those that all have; keeps it to its `--threads` cores."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.threads:
        hold_threads(options.threads)
    return options


def hold_threads(threads: int) -> None:
    """Restricts this process to that many cores; both libraries then start that many threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["OMP_NUM_THREADS"] = str(threads)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each step, memory, and operations of a case on one side."""
    from benchmarks.comparison.cases import CASES
    from benchmarks.comparison.work import UnavailableError

    case = CASES[options.case].resized(options.batch, options.frames, options.audio_seconds)
    try:
        if options.side.startswith("jax"):
            from benchmarks.comparison import jax_side

            if options.plain:
                kernel = importlib.import_module(f"emi_jax.kernels.{options.plain}")
                kernel.tuned = kernel.reference
            lstm: Literal["cudnn", "xla"] = "cudnn" if options.side == "jax.cudnn" else "xla"
            work = jax_side.prepare(case, options.dtype, remat=options.side == "jax.remat", lstm=lstm)
        else:
            from benchmarks.comparison import torch_side

            mode = {"torch": None, "torch.compile": "default"}.get(options.side, "max-autotune")
            work = torch_side.prepare(case, options.dtype, mode=mode, device=options.device)
    except UnavailableError as error:
        return {"unavailable": str(error)}

    batch = work.feed()
    start = time.perf_counter()
    work.step(batch)
    first = time.perf_counter() - start
    work.step(work.feed())
    reset_peak(options)
    steps, waits, cpu = [], [], []
    begun = time.perf_counter()
    while len(steps) < MIN_STEPS or (time.perf_counter() - begun < options.seconds and len(steps) < MAX_STEPS):
        start, used = time.perf_counter(), time.process_time()
        batch = work.feed()
        fed = time.perf_counter()
        work.step(batch)
        steps.append(time.perf_counter() - start)
        waits.append(fed - start)
        cpu.append(time.process_time() - used)
    return {
        "clips": work.clips,
        "first_s": first,
        "steps_s": steps,
        "waits_s": waits,
        "cpu_s": cpu,
        "peak_mib": peak_mib(options),
        "flops": work.count() if options.count else None,
    }


def reset_peak(options: argparse.Namespace) -> None:
    """Resets the record of the peak memory, so that compilation is not included; JAX cannot reset that of a GPU."""
    if options.device == "cuda" and options.side.startswith("torch"):
        import torch

        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):  # not Linux, or not permitted: the record then includes compilation
        Path("/proc/self/clear_refs").write_text("5")


def peak_mib(options: argparse.Namespace) -> float:
    """The peak memory so far in MiB: of the GPU if there is one, otherwise of the process."""
    if options.device == "cuda" and options.side.startswith("jax"):
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0) / 2**20
    if options.device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
