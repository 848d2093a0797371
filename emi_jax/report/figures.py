"""The figures of a run: learning curves, scores, predictions, weights, retrieval."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emi_jax.modalities import MODALITIES
from emi_jax.report.svg import INK, style

Scores = Mapping[str, float]


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def curves(records: Sequence[Scores], goal: str) -> Figure:
    """The loss of training, and the goal on the validation split, by step."""
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
    axes.grid(True)


def pearson_bars(results: Mapping[str, Any]) -> Figure:
    """Pearson of each label and their mean with their intervals, a dash at the ceiling where it is known."""
    rows = results["labels"] | {"mean": results["mean"]}
    with style():
        figure = new_figure(9, 3.2)
        axes = figure.subplots()
        for place, (name, row) in enumerate(rows.items()):
            if row["pearson"] is None:
                continue
            low, high = row["pearson_interval"]
            axes.bar(place, row["pearson"], color="C1" if name == "mean" else "C0", width=0.6)
            axes.vlines(place, low, high, color=INK)
            if row.get("ceiling") is not None:
                axes.hlines(row["ceiling"], place - 0.38, place + 0.38, color=INK, linestyle=":")
        axes.set_xticks(range(len(rows)), list(rows))
        axes.set_ylabel("Pearson")
        axes.set_title("lines: 95% intervals; dotted: the best that labels with noise allow", loc="left")
        axes.grid(True, axis="y")
    return figure


def scatter(outputs: Mapping[str, np.ndarray], results: Mapping[str, Any]) -> Figure:
    """Predictions against labels, a panel for each label."""
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
            axes.plot([0, 1], [0, 1], color=INK, alpha=0.3, linewidth=1)
            axes.scatter(
                outputs["labels"][known, index], outputs["predictions"][known, index], s=8, alpha=0.6, rasterized=True
            )
            axes.set_title(name if rho is None else f"{name}: {rho:.3f}")
        figure.supxlabel("label")
        figure.supylabel("prediction")
    return figure


def weights(outputs: Mapping[str, np.ndarray]) -> Figure:
    """How the modalities are weighed: of clips that have all three, and of those that lack one."""
    present, values = outputs["present"], outputs["weights"]
    groups = {"all three present": present.all(1)}
    groups |= {f"no {name}": ~present[:, index] for index, name in enumerate(MODALITIES)}
    groups = {title: rows for title, rows in groups.items() if rows.any()}
    with style():
        figure = new_figure(2.3 * len(groups), 3)
        grid = figure.subplots(1, max(1, len(groups)), squeeze=False, sharey=True)
        ink = {"color": INK}
        for axes, (title, rows) in zip(grid.flat, groups.items(), strict=False):
            axes.boxplot(
                [values[rows, index] for index in range(len(MODALITIES))],
                tick_labels=MODALITIES,
                boxprops=ink,
                whiskerprops=ink,
                capprops=ink,
                flierprops={"markeredgecolor": INK, "markersize": 3},
            )
            axes.set_title(f"{title} ({int(rows.sum())})")
            axes.grid(True, axis="y")
        grid[0, 0].set_ylabel("weight")
    return figure


def recalls(scores: Scores) -> Figure:
    """Recall@1 and recall@5 in each direction, with chance as a line across the bars."""
    directions = sorted({name.split("/")[0] for name in scores if "_to_" in name})
    with style():
        figure = new_figure(9, 3.2)
        for axes, metric in zip(figure.subplots(1, 2), ("recall@1", "recall@5"), strict=True):
            axes.bar(
                [name.replace("_to_", "\nto ") for name in directions],
                [scores[f"{name}/{metric}"] for name in directions],
                width=0.6,
            )
            chance = max(value for name, value in scores.items() if name.startswith("chance") and name.endswith(metric))
            axes.axhline(chance, color=INK, linestyle="--", label=f"chance {chance:.4f}")
            axes.set_title(metric)
            axes.legend()
    return figure


def similarities(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], most: int = 100) -> Figure:
    """Cosines of the first clips' embeddings with their words': a bright diagonal is what stage 1 is for.

    Args:
        pairs: {modality: its embeddings [n, P], the words' [n, P]}, both L2-normalised.
        most: clips drawn.
    """
    with style():
        figure = new_figure(4.2 * len(pairs), 3.8)
        for axes, (name, (left, text)) in zip(
            figure.subplots(1, len(pairs), squeeze=False).flat, pairs.items(), strict=True
        ):
            image = axes.imshow(left[:most] @ text[:most].T, cmap="viridis", rasterized=True)
            axes.set(title=f"{name} against words", xlabel="words of clip", ylabel=f"{name} of clip")
            figure.colorbar(image, ax=axes, shrink=0.8)
    return figure
