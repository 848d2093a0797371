"""Summarises the measurements of all rounds in one row for each side of a case."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def summarise(
    case: str, dtype: str, found: Mapping[str, Sequence[Mapping[str, Any]]], peaks: Mapping[str, Mapping[str, Any]]
) -> list[Row]:
    """One row for each side.

    Args:
        case: name of the case.
        dtype: dtype of the products.
        found: the measurements of each round, by side.
        peaks: the outputs of `benchmarks.comparison.peak`, by side; the best is used.

    Returns:
        Rows with `step_ms` (median over all rounds), `spread_ms` (first and third quartile), `rounds_ms` (median of
        each round), `clips_per_s`, `ratio` (our speed over this side's: its median step by our fastest), `compile_s`,
        `peak_mib`, `gflop`, `peak_share`, `wait_share`, `cpu_ms`; or `unavailable`.
    """
    best = max((peak.get("flops_per_second", 0.0) for peak in peaks.values()), default=0.0)
    rows = [_row(case, dtype, side, rounds, best) for side, rounds in found.items()]
    ours = min((row["step_ms"] for row in rows if is_ours(row) and "step_ms" in row), default=None)
    for row in rows:
        if ours and "step_ms" in row:
            row["ratio"] = row["step_ms"] / ours
    return rows


def is_ours(row: Row) -> bool:
    """Whether a row is of emi_jax."""
    return row["side"].startswith("jax")


def _row(case: str, dtype: str, side: str, rounds: Sequence[Mapping[str, Any]], best: float) -> Row:
    row: Row = {"case": case, "dtype": dtype, "side": side}
    if reasons := [one["unavailable"] for one in rounds if "unavailable" in one]:
        return row | {"unavailable": reasons[0]}
    steps = [step for one in rounds for step in one["steps_s"]]
    waits = [wait for one in rounds for wait in one["waits_s"]]
    median = statistics.median(steps)
    quartiles = statistics.quantiles(steps, n=4) if len(steps) > 1 else [median] * 3
    row |= {
        "step_ms": 1e3 * median,
        "spread_ms": [1e3 * quartiles[0], 1e3 * quartiles[2]],
        "rounds_ms": [1e3 * statistics.median(one["steps_s"]) for one in rounds],
        "cpu_ms": 1e3 * statistics.median(used for one in rounds for used in one["cpu_s"]),
        "clips_per_s": rounds[0]["clips"] / median,
        "compile_s": max(0.0, rounds[0]["first_s"] - median),
        "peak_mib": max(one["peak_mib"] for one in rounds),
        "wait_share": sum(waits) / sum(steps),
        "steps": len(steps),
    }
    if operations := rounds[0]["flops"]:
        row["gflop"] = operations / 1e9
        if best:
            row["peak_share"] = operations / median / best
    return row


COLUMNS = {
    "case": ("case", "{}"),
    "dtype": ("dtype", "{}"),
    "side": ("side", "{}"),
    "step_ms": ("step ms", "{:.3g}"),
    "spread_ms": ("quartiles", "{0[0]:.3g}-{0[1]:.3g}"),
    "cpu_ms": ("CPU ms", "{:.3g}"),
    "clips_per_s": ("clips/s", "{:.3g}"),
    "ratio": ("ratio", "{:.2f}"),
    "compile_s": ("compile s", "{:.1f}"),
    "peak_mib": ("peak MiB", "{:.0f}"),
    "gflop": ("GFLOP", "{:.3g}"),
    "peak_share": ("of peak", "{:.0%}"),
    "wait_share": ("waiting", "{:.1%}"),
}
"""Heading and format of each field of a row in the printed table."""


def cells(row: Row) -> list[str]:
    """The fields of a row as text, a dash for a missing number."""
    if "unavailable" in row:
        return [row["case"], row["dtype"], row["side"], f"could not run: {row['unavailable']}"]
    return [form.format(row[name]) if name in row else "-" for name, (_, form) in COLUMNS.items()]


def lines(rows: Sequence[Row]) -> str:
    """Rows as lines for the terminal."""
    widths = (17, 9, 14, 8, 13, 8, 8, 6, 9, 9, 8, 8, 8)
    texts = [[heading for heading, _ in COLUMNS.values()], *map(cells, rows)]
    return "\n".join(" ".join(text.ljust(width) for text, width in zip(row, widths, strict=False)) for row in texts)


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a table for the documents."""
    headings = [heading for heading, _ in COLUMNS.values()]
    texts = [headings, ["---"] * len(headings), *map(cells, rows)]
    return "\n".join("| " + " | ".join([*row, *[""] * (len(headings) - len(row))]) + " |" for row in texts)


def against_better(rows: Sequence[Row]) -> str:
    """Our step and its ratio to the best of PyTorch's sides for each case, as a table for the documents."""
    measured = [row for row in rows if "ratio" in row]
    lines = [
        "| case | dtype | ours, ms | the best of PyTorch's sides | ms | ratio |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for ours in (row for row in measured if is_ours(row) and row["ratio"] == 1):
        case = ours["case"], ours["dtype"]
        others = [row for row in measured if (row["case"], row["dtype"]) == case and not is_ours(row)]
        if others:
            best = min(others, key=lambda row: row["step_ms"])
            numbers = f"{ours['step_ms']:.3g} | {best['side']} | {best['step_ms']:.3g} | {best['ratio']:.2f}"
            lines.append(f"| {ours['case']} | {ours['dtype']} | {numbers} |")
    return "\n".join(lines)
