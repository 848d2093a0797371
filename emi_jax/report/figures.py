"""The figures of a run: learning curves, scores, predictions, weights, retrieval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emi_jax.modalities import MODALITIES
from emi_jax.report.score_tables import chance, directions
from emi_jax.report.svg import INK, style

Scores = Mapping[str, float]


NARROWEST = 5.7
"""Least width of a figure in inches. Pages show drawings at 34rem or more, and would magnify the text of others."""


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this height and at least this width, in inches."""
    return Figure(figsize=(max(width, NARROWEST), height), layout="constrained")


def curves(records: Sequence[Scores], goal: str) -> Figure:
    """The training loss, and the goal metric on the validation split, by step."""
    with style():
        figure = new_figure(9, 3.2)
        left, right = figure.subplots(1, 2)
        _series(left, records, "loss", "training loss")
        _series(right, records, f"valid/{goal}", f"validation: {goal}")
    return figure


def _series(axes: Axes, records: Sequence[Scores], name: str, title: str) -> None:
    points = [(record["step"], record[name]) for record in records if name in record]
    if points:
        axes.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else "")
    axes.set(title=title, xlabel="step")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.grid(True)


def pearson_bars(results: Mapping[str, Any]) -> Figure:
    """Pearson of each label and their mean with their intervals, and the ceiling where it is known."""
    rows = [*results["labels"].items(), ("mean", results["mean"])]
    with style():
        figure = new_figure(9, 0.8 + 0.3 * len(rows))
        axes = figure.subplots()
        for place, (_, row) in enumerate(rows):
            if row["pearson"] is not None:
                axes.barh(place, row["pearson"], color="C1" if place == len(rows) - 1 else "C0", height=0.6)
                axes.hlines(place, *row["pearson_interval"], color=INK)
            if row.get("ceiling") is not None:
                axes.vlines(row["ceiling"], place - 0.38, place + 0.38, color=INK, linestyle=":")
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.invert_yaxis()
        ceilings = any(row.get("ceiling") is not None for _, row in rows)
        axes.set_title("Pearson, with 95% intervals (lines)" + " and ceilings (dotted)" * ceilings, loc="left")
        axes.grid(True, axis="x")
    return figure


def scatter(
    outputs: Mapping[str, np.ndarray], results: Mapping[str, Any], label_range: tuple[float, float] = (0.0, 1.0)
) -> Figure:
    """Predictions against labels, a panel for each label, in the users' units.

    Args:
        outputs: `predictions`, `labels`, `label_mask` [n, K], scaled to [0, 1].
        results: of `runs.results.measure`.
        label_range: lowest and highest label in the users' units.
    """
    low, high = label_range
    labels, predictions = (low + (high - low) * outputs[name] for name in ("labels", "predictions"))
    names = list(results["labels"])
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    with style():
        figure = new_figure(3 * columns, 3 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(names) :]:
            axes.remove()
        for index, (axes, name) in enumerate(zip(grid.flat, names, strict=False)):
            known, rho = outputs["label_mask"][:, index], results["labels"][name]["pearson"]
            axes.plot([low, high], [low, high], color=INK, alpha=0.3, linewidth=1)
            axes.scatter(labels[known, index], predictions[known, index], s=8, alpha=0.6, rasterized=True)
            axes.set_title(name if rho is None else f"{name}: {rho:.3f}")
        figure.supxlabel("label")
        figure.supylabel("prediction")
    return figure


def weights(outputs: Mapping[str, np.ndarray]) -> Figure:
    """The weights of the modalities in use: of clips that have them all, and of those that lack one."""
    present, values = outputs["present"].astype(bool), outputs["weights"]
    used = np.flatnonzero(present.any(0))
    names = [MODALITIES[index] for index in used]
    groups = {"all present": present[:, used].all(1)}
    groups |= {f"no {name}": ~present[:, index] for index, name in zip(used, names, strict=True)}
    groups = {title: rows for title, rows in groups.items() if rows.any()}
    with style():
        figure = new_figure(2.3 * max(1, len(groups)), 3)
        grid = figure.subplots(1, max(1, len(groups)), squeeze=False, sharey=True)
        ink = {"color": INK}
        for axes, (title, rows) in zip(grid.flat, groups.items(), strict=False):
            axes.boxplot(
                [values[rows, index] for index in used],
                tick_labels=names,
                boxprops=ink,
                whiskerprops=ink,
                capprops=ink,
                flierprops={"markeredgecolor": INK, "markersize": 3},
            )
            axes.set_title(f"{title} ({int(rows.sum())})")
            axes.grid(True, axis="y")
        grid[0, 0].set_ylabel("weight w")
    return figure


def recalls(scores: Scores) -> Figure:
    """Recall@1 and recall@5 in each direction, with a line at chance over each bar."""
    names = directions(scores)
    places = range(len(names))
    with style():
        figure = new_figure(9, 3.2)
        for axes, metric in zip(figure.subplots(1, 2), ("recall@1", "recall@5"), strict=True):
            axes.bar(places, [scores[f"{name}/{metric}"] for name in names], width=0.6)
            for place, name in zip(places, names, strict=True):
                level = chance(scores, name, metric)
                axes.hlines(
                    level, place - 0.38, place + 0.38, color=INK, linestyle=":", label=None if place else "chance"
                )
            axes.set_xticks(places, [name.replace("_to_", "\nto ") for name in names])
            axes.set_title(metric)
            axes.grid(True, axis="y")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right")
    return figure


def similarities(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], most: int = 100) -> Figure:
    """Cosine similarities of clips' embeddings and their words' embeddings; stage 1 makes the diagonal bright.

    Args:
        pairs: {modality: its embeddings [n, P], the words' [n, P]}, both L2-normalised.
        most: number of clips that are drawn, from the start of the split.
    """
    with style():
        figure = new_figure(4.2 * len(pairs), 3.8)
        for axes, (name, (left, text)) in zip(
            figure.subplots(1, len(pairs), squeeze=False).flat, pairs.items(), strict=True
        ):
            image = axes.imshow(left[:most] @ text[:most].T, cmap="viridis", rasterized=True)
            axes.set(title=f"{name} and words", xlabel="words of clip", ylabel=f"{name} of clip")
            figure.colorbar(image, ax=axes, shrink=0.8)
    return figure
