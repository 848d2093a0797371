"""Seconds from the command to the end of the first step, with and without the compilation cache.

python -m benchmarks.compiled.startup [--scales=demo,paper]

The command is `run.py` on stage 1 and a small synthetic dataset, stopped when the first step's metrics are on disk: the
time covers imports, encoders, tracing, compiling and one step. `paper` is the preset `vidmimic2` from scratch with two
clips per batch. The first start has an empty cache, the second one uses the cache of the first.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.proofs.kill_training import ROOT, make_data

SCALES = {
    "demo": ("configs/stage1.py", {"train.batch_size": 16}),
    "paper": (
        "configs/stage1.py:vidmimic2",
        {"train.batch_size": 2, "data.corpus": "synthetic"}
        | {f"model.{name}.pretrained": "" for name in ("vision", "audio", "text")},
    ),
}


def seconds_to_first_step(scale: str, root: Path, workdir: Path, cache: Path | None) -> float:
    """Starts a run and stops it after its first step."""
    config, fields = SCALES[scale]
    fields = fields | {"data.dir": root / "data", "train.log_every": 1}
    command = [sys.executable, "run.py", f"--config={config}", f"--workdir={workdir}"]
    command += [f"--config.{field}={value}" for field, value in fields.items()]
    settings = {"JAX_COMPILATION_CACHE_DIR": str(cache)} if cache else {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    began = time.perf_counter()
    with (root / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT)
        while not (workdir / "metrics.jsonl").exists() and process.poll() is None:
            time.sleep(0.02)
        took = time.perf_counter() - began
        process.kill()
        process.wait()
    if not (workdir / "metrics.jsonl").exists():
        raise RuntimeError((root / "log").read_text()[-2000:])
    return took


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", default=",".join(SCALES))
    options = parser.parse_args()
    print("| scale | without a cache | first start with one | second start |")
    print("| --- | --- | --- | --- |")
    for scale in options.scales.split(","):
        with tempfile.TemporaryDirectory() as temporary:
            root = Path(temporary)
            make_data(root)
            cache = root / "cache"
            cache.mkdir(mode=0o700)
            starts = {"without": None, "first": cache, "second": cache}
            taken = [seconds_to_first_step(scale, root, root / name, where) for name, where in starts.items()]
            print(f"| {scale} | {' | '.join(f'{seconds:.0f} s' for seconds in taken)} |", flush=True)


if __name__ == "__main__":
    main()
