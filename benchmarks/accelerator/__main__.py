"""Measures on an accelerator what is most worth knowing, in a given number of minutes.

python -m benchmarks.accelerator --minutes=8 --out=DIR
python -m benchmarks.accelerator --minutes=8 --out=DIR --device=cpu

In order of worth (`benchmarks/accelerator/plan.py`): correctness, the speed of training at the paper's sizes against
`torch.compile`, a trace of one step, the input pipeline. Each measurement runs in a process of its own with a time
limit; one that fails, lacks a package or runs out of time is recorded with the reason, and the next one follows. Each
is saved as it ends, to `DIR/results.jsonl` and `DIR/report.md`. Started again with the same DIR, only those without a
result are run; `DIR/caches` keeps what was compiled. `--device=cpu` runs the same at tiny sizes, to test the program:
its numbers mean nothing.

`--ahead=6` saves time on a machine with many cores: checks and programs are first run six at a time, the programs for
what they compile alone, and only then timed one by one, reading what is compiled from caches.
"""

import argparse
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
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
    waiting = [task for task in tasks(options.device, options.seconds) if task.name not in done]
    waiting = [task for task in waiting if options.tasks is None or task.name in options.tasks]
    if options.ahead:
        run_ahead(waiting, options, deadline)
        waiting = [task for task in waiting if task.kind != "check"]
    for task in waiting:
        save(task, options.out, *timed(task, options, deadline))


def run_ahead(waiting: Sequence[Task], options: argparse.Namespace, deadline: float) -> None:
    """Runs checks and compiles what is to be timed, several at a time."""
    known = {one["compiled"] for one in read(options.out) if "compiled" in one}
    ahead = [task for task in waiting if task.kind == "check" or (task.kind == "speed" and task.name not in known)]
    with ThreadPoolExecutor(options.ahead) as pool:
        parts = {pool.submit(timed, task.untimed, options, deadline, shares_device=True): task for task in ahead}
        for part in as_completed(parts):
            task, (result, took) = parts[part], part.result()
            if task.kind == "check":
                save(task, options.out, result, took)
            else:
                print(f"{task.name:34} {took:5.0f} s  {result.get('unavailable', 'compiled')}", flush=True)
                if "first_s" in result:
                    record(options.out, {"compiled": task.name, "first_s": result["first_s"]})


def timed(task: Task, options: argparse.Namespace, deadline: float, shares_device: bool = False) -> tuple[Any, float]:
    """What a task measured, and the seconds that it took."""
    began = time.monotonic()
    result = measure(task, options, deadline - began, shares_device)
    return result, time.monotonic() - began


def save(task: Task, folder: Path, result: dict[str, Any], took: float) -> None:
    """Prints and records a result; the first step of what was compiled ahead is the one that compiled."""
    first = {one["compiled"]: one["first_s"] for one in read(folder) if "compiled" in one}
    if "first_s" in result:
        result["first_s"] = first.get(task.name, result["first_s"])
    record(folder, {"task": task.name, "kind": task.kind, **task.labels, "took_s": took, "result": result})
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
    parser.add_argument("--ahead", type=int, default=0, help="checks and compilations that run at once, before timing")
    parser.add_argument("--tasks", type=lambda text: text.split(","), help="only these, by name, joined by commas")
    options = parser.parse_args(arguments)
    known = [task.name for task in tasks(options.device, options.seconds)]
    if unknown := [name for name in options.tasks or () if name not in known]:
        parser.error(f"unknown task {unknown[0]!r}; there are {', '.join(known)}")
    return options


def measure(task: Task, options: argparse.Namespace, left: float, shares_device: bool = False) -> dict[str, Any]:
    """The result of a task, or why there is none, as `unavailable`.

    Args:
        task: what to measure.
        options: supplies `device`, `threads` and `out`.
        left: seconds until the time is up.
        shares_device: whether other tasks use the device at the same time; JAX then does not reserve its memory.
    """
    if task.missing:
        return {"unavailable": f"not installed here: {', '.join(task.missing)}"}
    if left < SHORTEST:
        return {"unavailable": f"not started: the {options.minutes:g} minutes are over"}
    arguments = [*task.arguments]
    if task.kind == "trace":
        arguments.append(f"--folder={options.out / task.name}")
    memory = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} if shares_device else {}
    return run_worker(options.out / "caches", arguments, options, min(task.seconds, left), memory)


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
