"""Studies compiled training: mappings, scan over layers, rematerialisation, donation, precision, unrolling, memory.

python -m benchmarks.compiled.study --json=compiled.json

Each variant is compiled and run in a separate process. Columns: seconds to trace and compile, milliseconds of a step,
processor milliseconds of a step, MiB of temporary memory planned by XLA (for one device), and MiB of arguments and
results that share memory. Malloc is tuned as in `run.py` (`emi_jax/memory.py`) unless a row says otherwise.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from benchmarks import machine
from benchmarks.compare import reason
from emi_jax import memory

TIMEOUT = 1200
DEVICES = (1, 2, 4, 8)
STACK: dict[str, Any] = {"work": "stack", "scan": False, "remat": "none", "donate": True, "dtype": "float32"}
"""An AdamW step of a transformer of 12 layers; the defaults of a variant."""
DEFAULT, TUNED = "default", "tuned"
"""The C library's malloc."""

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "mapping": [
        {"work": "stage1", "mapping": mapping, "devices": devices}
        for mapping in ("jit", "pmap", "shard_map")
        for devices in DEVICES
    ],
    "scan": [STACK | {"scan": scan} for scan in (False, True)],
    "remat": [STACK | {"remat": policy} for policy in ("none", "full", "dots", "dots_no_batch")],
    "scan+remat": [STACK | {"scan": True, "remat": policy} for policy in ("full", "dots")],
    "donation": [STACK | {"donate": donate} for donate in (True, False)],
    "precision": [STACK | {"dtype": dtype} for dtype in ("float32", "bfloat16")],
    "unrolling": [
        *(STACK | {"scan": True, "unroll": unroll} for unroll in (1, 2, 4, 12)),
        *({"work": "bilstm", "unroll": unroll} for unroll in (1, 2, 4, 8)),
    ],
    "memory": [
        work | {"memory": malloc}
        for work in ({"work": "stage1", "mapping": "pmap", "devices": 1}, STACK)
        for malloc in (DEFAULT, TUNED)
    ],
}


def main() -> None:
    """Runs the variants, prints and stores their rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", default=",".join(VARIANTS), help=f"of: {','.join(VARIANTS)}")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0, help="of timed steps for each variant")
    parser.add_argument("--width", type=int, default=384, help="of the transformer of 12 layers")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    report: dict[str, Any] = {"machine": machine.describe("cpu", options.threads), "rows": []}
    for group in options.groups.split(","):
        for variant in VARIANTS[group]:
            row = {"group": group, **variant, **run(variant, options)}
            report["rows"].append(row)
            print(" | ".join(cells(row)), flush=True)
            if options.json:
                options.json.write_text(json.dumps(report, indent=1) + "\n")


def run(variant: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Compiles and times one variant in a fresh process without a compilation cache."""
    flags = f"--xla_force_host_platform_device_count={variant.get('devices', 1)}"
    environment = {
        name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    }
    if variant.get("memory", TUNED) == TUNED:
        environment = memory.tuned(environment)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        task = {
            **variant,
            "threads": options.threads,
            "seconds": options.seconds,
            "width": options.width,
        }
        try:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.compiled.worker", json.dumps(task), str(out)],
                env={**environment, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"unavailable": f"took longer than {TIMEOUT} s"}
        if done.returncode:
            return {"unavailable": shorten(reason(done.stderr), 120)}
        return json.loads(out.read_text())


HEADINGS = ("study", "variant", "trace + compile s", "step ms", "quartiles", "CPU ms", "temporary MiB", "shared MiB")


def cells(row: dict[str, Any]) -> list[str]:
    """The cells of a row as text."""
    shown = {"mapping": ("mapping", "devices"), "scan+remat": ("scan", "remat"), "donation": ("donate",)}
    shown |= {"precision": ("dtype",), "unrolling": ("unroll",)}
    names = shown.get(row["group"], (row["group"],))
    label = f"{row['work']}: " + ", ".join(f"{name} {row[name]}" for name in names)
    if "unavailable" in row:
        return [row["group"], label, f"could not run: {row['unavailable']}", "", "", "", "", ""]
    low, high = row["spread_ms"]
    numbers = [f"{row['compile_s']:.1f}", f"{row['step_ms']:.3g}", f"{low:.3g}-{high:.3g}", f"{row['cpu_ms']:.3g}"]
    return [row["group"], label, *numbers, f"{row['temp_mib']:.0f}", f"{row['alias_mib']:.0f}"]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table for the documents."""
    texts = [list(HEADINGS), ["---"] * len(HEADINGS), *map(cells, rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in texts)


if __name__ == "__main__":
    main()
