"""Traces one training step and lists the operations that took the longest; started by `benchmarks.accelerator`.

The folder of the trace opens in TensorBoard, and its `*.trace.json.gz` in ui.perfetto.dev.
"""

import argparse
import collections
import gzip
import json
import re
import time
from pathlib import Path
from typing import Any

from benchmarks.comparison.worker import SIDES, parse_options

MOST = 25
"""Operations in the list."""
LONGEST = 60
"""Characters of a name; those of templates go on for a thousand."""


def main() -> None:
    """Parses the options, traces, and writes the list."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", required=True)
    parser.add_argument("--side", choices=SIDES, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parse_options(parser)
    import jax

    from benchmarks.comparison import jax_side
    from benchmarks.comparison.cases import CASES
    from emi_jax.train.profile import without_python

    work = jax_side.prepare(CASES[options.case], "bfloat16", remat=options.side == "jax.remat")
    for _ in range(2):
        work.step(work.feed())
    batch = jax.block_until_ready(work.feed())
    with jax.profiler.trace(str(options.folder), profiler_options=without_python()):
        start = time.perf_counter()
        work.step(batch)
        wall = time.perf_counter() - start
    (path,) = options.folder.rglob("*.trace.json.gz")
    with gzip.open(path) as file:
        rows = operations(json.load(file)["traceEvents"])
    busy = sum(row["ms"] for row in rows)
    found = {"wall_ms": 1e3 * wall, "busy_ms": busy, "folder": options.folder.name, "operations": rows[:MOST]}
    options.out.write_text(json.dumps(found))


def operations(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The time of each kind of operation of a step, the longest first.

    Args:
        events: those of a trace in Chrome's format. On a GPU its streams alone count, whose events are kernels, here
            by their own names: most run in command buffers, after which XLA names the operation.

    Returns:
        For each kind `name`, without the number that XLA appends, `count`, `ms` and `share` of all.
    """
    lines = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e.get("name") == "thread_name"}
    streams = {line for line, name in lines.items() if name.startswith("Stream")}
    times: collections.Counter[str] = collections.Counter()
    counts: collections.Counter[str] = collections.Counter()
    for event in events:
        operation = event.get("args", {}).get("hlo_op") if event.get("ph") == "X" else None
        if operation and (not streams or (event["pid"], event["tid"]) in streams):
            name = re.sub(r"([._]\d+)+$", "", event["name"] if streams else operation)[:LONGEST]
            times[name] += event["dur"] / 1e3
            counts[name] += 1
    total = sum(times.values())
    return [
        {"name": name, "count": counts[name], "ms": spent, "share": spent / total}
        for name, spent in times.most_common()
    ]


if __name__ == "__main__":
    main()
