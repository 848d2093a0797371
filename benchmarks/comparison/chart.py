"""The comparison as a bar chart."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.comparison.summary import Row
from benchmarks.comparison.worker import DEFAULT_SIDES

COLOURS = dict(zip(DEFAULT_SIDES, ("#1b7f79", "#c2703d", "#7a5195"), strict=True))


def draw(results: Sequence[Row], path: Path) -> None:
    """Draws the clips per second of each side relative to ours, for each case."""
    from matplotlib.figure import Figure

    rows = [row for row in results if "ratio" in row]
    groups = list(dict.fromkeys((row["case"], row["dtype"]) for row in rows))
    figure = Figure(figsize=(8, 1.5 + 0.4 * len(groups)), layout="constrained")
    axes = figure.subplots()
    for offset, side in enumerate(DEFAULT_SIDES):
        places, values = [], []
        for place, group in enumerate(groups):
            for row in rows:
                if (row["case"], row["dtype"], row["side"]) == (*group, side):
                    places.append(place + 0.27 * (offset - 1))
                    values.append(1 / row["ratio"])
        axes.barh(places, values, 0.25, color=COLOURS[side], label=side)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(groups)), [f"{case}\n{dtype}" for case, dtype in groups])
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.set_xlabel("speed over that of emi_jax (more is faster)")
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
