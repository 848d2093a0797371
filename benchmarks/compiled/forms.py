"""Times whole training steps with each tuned form and with the plain form it replaces, alternately, in fresh processes.

python -m benchmarks.compiled.forms --json=forms.json

A tuned form is kept only if it saves at least a tenth of a step in one of these cases.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks import machine
from benchmarks.compare import run_worker
from benchmarks.comparison.worker import KERNELS
from emi_jax.memory import SWITCH

MALLOC = "malloc"
ROWS = {
    "product": (("cached-demo", "float32"), ("cached-base", "bfloat16"), ("stage1-base", "bfloat16")),
    "lstm": (("cached-demo", "bfloat16"), ("cached-base", "float32"), ("cached-base", "bfloat16")),
    "convolution": (("stage1-demo", "float32"), ("stage1-base", "float32"), ("stage1-base", "bfloat16")),
    MALLOC: (("stage1-demo", "float32"), ("stage1-demo", "bfloat16"), ("cached-demo", "bfloat16")),
}
"""The cases for each form: the kernels in `emi_jax/kernels`, and `emi_jax/memory.py`."""
SIDES = ("tuned", "plain")


def main() -> None:
    """Times the rows, prints and stores them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--forms", default=",".join(ROWS), help=f"of: {','.join(ROWS)}")
    parser.add_argument("--repeats", type=int, default=2, help="processes of each side")
    parser.add_argument("--seconds", type=float, default=4.0, help="of timed steps in each process")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.device = "cpu"
    report: dict[str, Any] = {"machine": machine.describe("cpu", options.threads), "rows": []}
    with tempfile.TemporaryDirectory(prefix="emi_jax_forms_") as folder:
        for form in options.forms.split(","):
            for case, dtype in ROWS[form]:
                report["rows"].append(
                    {"form": form, "case": case, "dtype": dtype} | time_both(form, case, dtype, options, Path(folder))
                )
                print(markdown(report["rows"][-1:]), flush=True)
                if options.json:
                    options.json.write_text(json.dumps(report, indent=1) + "\n")


def time_both(form: str, case: str, dtype: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The median step and processor time of each side in milliseconds, over all processes; or `unavailable`."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(options.repeats):
        for side in SIDES:
            arguments = ["benchmarks.comparison.worker", "--side=jax", f"--case={case}", f"--dtype={dtype}"]
            arguments.append(f"--seconds={options.seconds}")
            plain = side == "plain"
            if plain and form in KERNELS:
                arguments.append(f"--plain={form}")
            environment = {SWITCH: "0"} if plain and form == MALLOC else {}
            with mock.patch.dict(os.environ, environment):
                found[side].append(run_worker(folder, arguments, options))
    if reasons := [run["unavailable"] for runs in found.values() for run in runs if "unavailable" in run]:
        return {"unavailable": reasons[0]}
    return {
        f"{side}_{name}": 1e3 * statistics.median(second for run in runs for second in run[seconds])
        for side, runs in found.items()
        for name, seconds in (("ms", "steps_s"), ("cpu_ms", "cpu_s"))
    }


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table for the documents."""
    lines = ["| form | case | dtype | tuned ms | plain ms | saved | tuned CPU ms | plain CPU ms |"]
    lines.append("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for row in rows:
        label = f"| {row['form']} | {row['case']} | {row['dtype']} "
        if "unavailable" in row:
            lines.append(f"{label}| could not run: {row['unavailable']} | | | | |")
            continue
        times = f"{row['tuned_ms']:.3g} | {row['plain_ms']:.3g} | {1 - row['tuned_ms'] / row['plain_ms']:.0%}"
        lines.append(f"{label}| {times} | {row['tuned_cpu_ms']:.3g} | {row['plain_cpu_ms']:.3g} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
