"""Measures on an accelerator what is most worth knowing, in a given number of minutes.

python -m benchmarks.accelerator --minutes=8 --out=DIR
python -m benchmarks.accelerator --minutes=8 --out=DIR --device=cpu

In order of worth (`benchmarks/accelerator/plan.py`): correctness, the speed of training at the paper's sizes against
`torch.compile`, a trace of one step, the input pipeline. Each measurement runs in a process of its own with a time
limit; one that fails, lacks a package or runs out of time is recorded with the reason, and the next one follows. Each
is saved as it ends, to `DIR/results.jsonl` and `DIR/report.md`. Started again with the same DIR, only those without a
result are run. `--device=cpu` runs the same at tiny sizes, to test the program: its numbers mean nothing.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.accelerator.plan import Task, tasks
from benchmarks.accelerator.report import markdown
from benchmarks.compare import run_worker

SHORTEST = 2.0
"""Seconds; with less time left no measurement is started."""


def main(arguments: list[str] | None = None) -> None:
    """Parses the options and measures."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * options.minutes
    record(options.out, {"machine": machine.describe(options.device, options.threads)})
    done = {one["task"] for one in read(options.out) if "result" in one and "unavailable" not in one["result"]}
    with tempfile.TemporaryDirectory(prefix="emi_jax_accelerator_") as folder:
        for task in tasks(options.device, options.seconds):
            if task.name not in done and (options.tasks is None or task.name in options.tasks):
                began = time.monotonic()
                result = measure(task, options, Path(folder), deadline - began)
                took = time.monotonic() - began
                record(
                    options.out, {"task": task.name, "kind": task.kind, **task.labels, "took_s": took, "result": result}
                )
                print(f"{task.name:34} {took:5.0f} s  {result.get('unavailable', 'done')}", flush=True)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parses the options."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accelerator",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found = "cuda" if Path("/dev/nvidiactl").exists() else "cpu"
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything together")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--device", choices=("cpu", "cuda"), default=found, help="default: cuda if there is a GPU")
    parser.add_argument("--seconds", type=float, default=4.0, help="of timed steps for each speed")
    parser.add_argument("--threads", type=int, default=0, help="cores of the host in use; 0: all")
    parser.add_argument("--tasks", type=lambda text: text.split(","), help="only these, by name, joined by commas")
    options = parser.parse_args(arguments)
    known = [task.name for task in tasks(options.device, options.seconds)]
    if unknown := [name for name in options.tasks or () if name not in known]:
        parser.error(f"unknown task {unknown[0]!r}; there are {', '.join(known)}")
    return options


def measure(task: Task, options: argparse.Namespace, folder: Path, left: float) -> dict[str, Any]:
    """The result of a task, or why there is none, as `unavailable`.

    Args:
        task: what to measure.
        options: supplies `device`, `threads` and `out`.
        folder: for compilation caches.
        left: seconds until the time is up.
    """
    if task.missing:
        return {"unavailable": f"not installed here: {', '.join(task.missing)}"}
    if left < SHORTEST:
        return {"unavailable": f"not started: the {options.minutes:g} minutes are over"}
    arguments = [*task.arguments]
    if task.kind == "trace":
        arguments.append(f"--folder={options.out / task.name}")
    return run_worker(folder, arguments, options, min(task.seconds, left))


def record(folder: Path, result: dict[str, Any]) -> None:
    """Appends a result and rewrites the report."""
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps(result) + "\n")
    (folder / "report.md").write_text(markdown(read(folder)))


def read(folder: Path) -> list[dict[str, Any]]:
    """All results so far; of a task that ran several times the last."""
    path = folder / "results.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return list({one.get("task", json.dumps(one)): one for one in lines}.values())


if __name__ == "__main__":
    main()
