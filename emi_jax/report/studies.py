"""The figures of the studies over cells: grids and robustness."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from emi_jax.report.figures import new_figure
from emi_jax.report.svg import INK, style


def grid(rows: Mapping[str, Mapping[str, Any]], reference: str) -> Figure:
    """Mean Pearson of each cell and its difference to the reference, with their intervals.

    Args:
        rows: {title: `pearson`, `interval`, `difference`, `difference_interval`}, from top to bottom.
        reference: name of the cell with which the others are compared.
    """
    places = range(len(rows))
    with style():
        figure = new_figure(9, 0.6 + 0.27 * len(rows))
        left, right = figure.subplots(1, 2, sharey=True)
        for place, row in zip(places, rows.values(), strict=True):
            for axes, value, ends in (
                (left, row["pearson"], row["interval"]),
                (right, row["difference"], row["difference_interval"]),
            ):
                axes.plot([value], [place], "o", color="C0", markersize=4)
                axes.hlines(place, *ends, color="C0")
        left.set_yticks(places, list(rows))
        left.invert_yaxis()
        left.set_title("mean Pearson")
        right.set_title(f"minus {reference}, paired by seed")
        right.axvline(0, color=INK, linewidth=0.8)
        for axes in (left, right):
            axes.grid(True)
    return figure


def robustness(defects: Mapping[str, Mapping[str, Any]], titles: Sequence[str], shows: Sequence[str]) -> Figure:
    """A curve for each model against the severity of each defect: a column a defect, a row for each value shown.

    Args:
        defects: {defect: `severities`, `unit`, `models` {title: {value: [severity][seed]}}}; None is a clean clip.
        titles: of the models, in order.
        shows: the values that are drawn: of "pearson", "mse", "weight" and "reliability".
    """
    with style():
        figure = new_figure(0.6 + 2.6 * len(defects), 0.9 + 2.2 * len(shows))
        grid = figure.subplots(len(shows), len(defects), squeeze=False, sharex="col", sharey="row")
        for column, (name, defect) in zip(grid.T, defects.items(), strict=True):
            severities = defect["severities"]
            places = range(len(severities))
            for axes, shown in zip(column, shows, strict=True):
                for index, title in enumerate(titles):
                    values = defect["models"][title][shown]
                    means = [sum(seeds) / len(seeds) for seeds in values]
                    color = f"C{index}"
                    axes.plot(places, means, marker=".", color=color, label=title)
                    axes.fill_between(places, list(map(min, values)), list(map(max, values)), color=color, alpha=0.15)
                axes.grid(True)
            column[0].set_title(name)
            if len(severities) == 2:  # either present or hidden: the unit is enough
                column[-1].set_xticks(places, ["clean", defect["unit"]])
                column[-1].margins(x=0.2)
            else:
                named = ["clean" if severity is None else f"{severity:g}" for severity in severities]
                column[-1].set_xticks(places, named)
                column[-1].set_xlabel(defect["unit"])
        for axes, shown in zip(grid[:, 0], shows, strict=True):
            axes.set_ylabel(
                {"pearson": "mean Pearson", "mse": "mean squared error"}.get(
                    shown, f"{shown} of the\ncorrupted modality"
                )
            )
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    return figure
