"""The results of `benchmarks.accelerator` as a page of tables in Markdown."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from benchmarks import tables
from benchmarks.comparison import summary

Result = dict[str, Any]


def markdown(results: Sequence[Result]) -> str:
    """The page: machines, correctness, speed, traces, and what could not be measured.

    Args:
        results: the lines of `results.jsonl`, the last one of each task.
    """
    starts = [one["machine"] for one in results if "machine" in one]
    machines = [
        tables.measured_on({name: fact for name, fact in one.items() if name != "load_before"}) for one in starts
    ]
    measured = [one for one in results if "task" in one]
    found: dict[str, list[Result]] = defaultdict(list)
    for one in measured:
        found["absent" if "unavailable" in one["result"] else one["kind"]].append(one)
    parts = ["# Measured on an accelerator", *dict.fromkeys(machines)]
    if found["check"]:
        parts += ["## Correctness", checks(found["check"])]
    if found["peak"] or found["speed"]:
        parts += ["## Speed", *speeds(found["peak"], found["speed"])]
    for one in found["trace"]:
        parts += [f"## One step of {one['case']}, {one['dtype']}, {one['side']}", trace(one["result"])]
    if found["absent"]:
        rows = [(one["task"], one["result"]["unavailable"].replace("|", "/")) for one in found["absent"]]
        parts += ["## Not measured", table(("measurement", "why"), rows)]
    return "\n\n".join(parts) + "\n"


def checks(found: Sequence[Result]) -> str:
    """A row for each comparison with its reference."""
    rows = [
        (one["check"], row["what"], f"{row['error']:.1e}", f"{row['limit']:.0e}", "yes" if row["passes"] else "NO")
        for one in found
        for row in one["result"]["rows"]
    ]
    return table(("check", "compared", "error", "limit", "passes"), rows)


def speeds(peaks: Sequence[Result], found: Sequence[Result]) -> list[str]:
    """The speed of matrix products, ratios, and a row for each case and side."""
    by_dtype: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in peaks:
        by_dtype[one["dtype"]][one["side"]] = one["result"]
    cases: dict[tuple[str, str], dict[str, list[Result]]] = defaultdict(dict)
    for one in found:
        cases[one["case"], one["dtype"]][one["side"]] = [one["result"]]
    rows = [
        row
        for (case, dtype), sides in cases.items()
        for row in summary.summarise(case, dtype, sides, by_dtype.get(dtype, {}))
    ]
    parts = [tables.peaks(by_dtype)] if peaks else []
    return [*parts, summary.against_better(rows), summary.markdown(rows)] if rows else parts


def trace(found: Result) -> str:
    """The operations that took the longest."""
    rows = [(row["name"], row["count"], f"{row['ms']:.2f}", f"{row['share']:.1%}") for row in found["operations"]]
    head = f"{found['wall_ms']:.1f} ms, {found['busy_ms']:.1f} ms of operations, in {found['folder']}:"
    return f"{head}\n\n{table(('operation', 'times', 'ms', 'share'), rows)}"


def table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
