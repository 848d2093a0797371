"""Measures how fast this machine multiplies matrices; started by `benchmarks.compare`.

python -m benchmarks.comparison.peak --side=torch --dtype=float32 --out=FILE
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.comparison.worker import parse_options

SIZE = {"cpu": 2048, "cuda": 12288}
REPEATS = 7


def main() -> None:
    """Parses the options, measures, and writes operations per second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", choices=("jax", "torch"), required=True)
    parser.add_argument("--dtype", required=True)
    options = parse_options(parser)
    size = SIZE[options.device]
    multiply = {"jax": _jax, "torch": _torch}[options.side](size, options.dtype, options.device)
    for _ in range(2):
        multiply()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        multiply()
        seconds.append(time.perf_counter() - start)
    options.out.write_text(json.dumps({"flops_per_second": 2 * size**3 / statistics.median(seconds)}))


def _jax(size: int, dtype: str, device: str) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    x = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(dtype)
    # For a result in bfloat16, XLA would multiply in float32 on the CPU.
    result = jnp.float32 if device == "cpu" else x.dtype
    multiply = jax.jit(lambda x: jnp.matmul(x, x, preferred_element_type=result))
    return lambda: jax.block_until_ready(multiply(x))


def _torch(size: int, dtype: str, device: str) -> Callable[[], Any]:
    import torch

    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as JAX multiplies there by default
    x = torch.randn(size, size, device=device).to(getattr(torch, dtype))

    def multiply() -> None:
        torch.mm(x, x)
        if device == "cuda":
            torch.cuda.synchronize()

    return multiply


if __name__ == "__main__":
    main()
