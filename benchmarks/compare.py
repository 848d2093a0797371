"""Times emi_jax and its PyTorch twin alternately, in fresh processes, and prints and stores the results.

python -m benchmarks.compare --cases=stage1-demo,cached-demo --dtype=float32 --json=compare.json

Both sides get the same cores, sizes and data. A round runs each side once in a fresh process; the sides alternate,
so that other load on the machine affects both. Compilations are cached between rounds: the first round measures them.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.comparison import summary
from benchmarks.comparison.cases import CASES, COMPARED, Case
from benchmarks.comparison.worker import DEFAULT_SIDES, SIDES

TIMEOUT = 1800


def main() -> None:
    """Parses the options, compares, prints and writes."""
    options = parse()
    cases = list(chosen(options))
    report: dict[str, Any] = {"machine": machine.describe(options.device, options.threads), "peaks": {}, "results": []}
    report["options"] = {
        name: value for name, value in vars(options).items() if name not in ("json", "png") and value is not None
    }
    with tempfile.TemporaryDirectory(prefix="emi_jax_compare_") as folder:
        for dtype in options.dtype:
            report["peaks"][dtype] = {
                side: run_worker(
                    Path(folder), ["benchmarks.comparison.peak", f"--side={side}", f"--dtype={dtype}"], options
                )
                for side in ("jax", "torch")
            }
        for case in cases:
            for dtype in options.dtype:
                found = compare(case, dtype, options, Path(folder))
                report["results"] += summary.summarise(case.name, dtype, found, report["peaks"][dtype])
                print(summary.lines(report["results"][-len(found) :]), flush=True)
                if options.json:  # after each case, so that an interrupted run keeps its results
                    options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.png:
        from benchmarks.comparison.chart import draw

        draw(report["results"], options.png)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parses the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ",".join(CASES)
    parser.add_argument("--cases", type=_list(CASES), default=None, help=f"names joined by commas, of: {names}")
    parser.add_argument("--stage", type=int, choices=(1, 2), help="cases of this stage only")
    parser.add_argument("--preset", choices=COMPARED, help="cases of this preset only")
    parser.add_argument("--sides", type=_list(SIDES), default=list(DEFAULT_SIDES), help=f"of: {','.join(SIDES)}")
    parser.add_argument("--dtype", type=_list(("float32", "bfloat16")), default=["float32"])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repeats", type=int, default=2, help="rounds")
    parser.add_argument("--seconds", type=float, default=4.0, help="of timed steps in each process")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=0, help="in place of each case's own")
    parser.add_argument("--frames", type=int, default=0, help="N, in place of each case's own")
    parser.add_argument("--audio-seconds", type=float, default=0.0, help="in place of each case's own")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    return parser.parse_args(arguments)


def _list(known: Any) -> Any:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return read


def chosen(options: argparse.Namespace) -> Iterator[Case]:
    """The cases that the options name."""
    for name in options.cases or [name for name, case in CASES.items() if case.preset in COMPARED]:
        case = CASES[name]
        if options.stage in (None, case.stage) and options.preset in (None, case.preset):
            yield case


def compare(case: Case, dtype: str, options: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The measurements of each side, one per round."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in options.sides}
    for number in range(options.repeats):
        for side in options.sides:
            arguments = [
                "benchmarks.comparison.worker",
                f"--side={side}",
                f"--case={case.name}",
                f"--dtype={dtype}",
                f"--seconds={options.seconds}",
                f"--batch={options.batch}",
                f"--frames={options.frames}",
                f"--audio-seconds={options.audio_seconds}",
                *(["--count"] if number == 0 else []),
            ]
            found[side].append(run_worker(folder, arguments, options))
    return found


def run_worker(
    folder: Path,
    arguments: list[str],
    options: argparse.Namespace,
    timeout: float = TIMEOUT,
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Runs a module in a fresh process and returns the JSON that it wrote.

    Args:
        folder: for the compilation caches.
        arguments: the module's name and its options, except `--device`, `--threads` and `--out`.
        options: supplies `device` and `threads`.
        timeout: seconds after which the process, and those that it started, are stopped.
        variables: of the environment, besides those of this process.
    """
    caches = {"JAX_COMPILATION_CACHE_DIR": folder / "jax", "TORCHINDUCTOR_CACHE_DIR": folder / "inductor"}
    settings = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "TOKENIZERS_PARALLELISM": "false"}
    settings["JAX_PLATFORMS"] = {"cpu": "cpu", "cuda": "cuda,cpu"}[options.device]
    command = [sys.executable, "-m", *arguments, f"--device={options.device}", f"--threads={options.threads}"]
    with tempfile.TemporaryDirectory(prefix="emi_jax_worker_") as own:
        out = Path(own) / "out.json"
        process = subprocess.Popen(
            [*command, f"--out={out}"],
            env={**os.environ, **{name: str(path) for name, path in caches.items()}, **settings, **(variables or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a group of its own, so that compilers that it started can be stopped with it
        )
        try:
            _, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            return {"unavailable": f"took longer than {timeout:.0f} s"}
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode or not out.exists():
            return {"unavailable": f"exit code {process.returncode}: {reason(errors)}"}
        return json.loads(out.read_text())


def reason(errors: str) -> str:
    """The line of a process's last words that names its exception or XLA's reason to abort, or the last one."""
    lines = errors.strip().splitlines() or ["no message"]
    names = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Unsupported)\b", line)]
    aborted = [line.partition("] ")[2] for line in lines if re.match(r"F\d{4} .*\] ", line)]
    return (names or aborted or lines)[-1]


if __name__ == "__main__":
    main()
