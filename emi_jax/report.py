"""What a run shows at its end: tables in text, a CSV of predictions, pictures."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emi_jax.modalities import MODALITIES

Scores = Mapping[str, float]


def table(header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """Columns of text, numbers with three digits."""
    cells = [[f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        first, *rest = (
            cell.ljust(width) if not index else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *rest)))
    return "\n".join((lines[0], "-" * len(lines[0]), *lines[1:]))


def intensity_table(scores: Scores, names: Sequence[str], ceiling: Scores) -> str:
    """Pearson, CCC and MSE of each label, beside the ceiling where it is known."""
    missing = float("nan")
    rows: list[list[str | float]] = [
        [name, *(scores.get(f"{name}/{metric}", missing) for metric in ("pearson", "ccc", "mse"))] for name in names
    ]
    rows.append(["mean", *(scores[f"mean/{metric}"] for metric in ("pearson", "ccc", "mse"))])
    header = ["", "Pearson", "CCC", "MSE"]
    if ceiling:
        header.append("ceiling")
        for row, name in zip(rows, names, strict=False):
            row.append(float(ceiling[name]))
        rows[-1].append(mean_ceiling(ceiling))
    return table(header, rows)


def mean_ceiling(ceiling: Scores) -> float:
    """Mean over the labels of the best Pearson correlation that can be reached."""
    return float(np.mean([float(value) for value in ceiling.values()]))


def retrieval_table(scores: Scores) -> str:
    """Recall@1, recall@5 and median rank in each direction beside chance."""
    rows = []
    for direction in sorted({name.split("/")[0] for name in scores if "_to_" in name}):
        pair = next(pair for pair in _pairs(scores) if set(pair.split("_")) == set(direction.split("_to_")))
        row: list[str | float] = [direction.replace("_", " ")]
        for metric in ("recall@1", "recall@5", "median_rank"):
            row += [scores[f"{direction}/{metric}"], scores[f"chance_{pair}/{metric}"]]
        rows.append([*row, scores[f"{direction}/recall@1"] / scores[f"chance_{pair}/recall@1"]])
    return table(["", "recall@1", "chance", "recall@5", "chance", "median rank", "chance", "recall@1 / chance"], rows)


def mean_chance(scores: Scores) -> float:
    """Mean over the pairs of the recall@1 of a random order."""
    return float(np.mean([scores[f"chance_{pair}/recall@1"] for pair in _pairs(scores)]))


def _pairs(scores: Scores) -> list[str]:
    return sorted({name.split("/")[0].removeprefix("chance_") for name in scores if name.startswith("chance_")})


def write_predictions(
    path: Path, ids: Sequence[str], predictions: np.ndarray, names: Sequence[str], label_range: tuple[float, float]
) -> None:
    """Writes predictions [n, K] in [0, 1] as a submission's CSV, in the units of the labels."""
    low, high = label_range
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Filename", *names])
        for clip, row in zip(ids, low + (high - low) * predictions, strict=True):
            writer.writerow([clip, *(f"{value:.6f}" for value in row)])


def draw_curves(records: Sequence[Scores], goal: str, path: Path) -> None:
    """The loss of training, and the goal on the validation split, by step."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_series(left, records, "loss", "training loss")
    _draw_series(right, records, f"valid/{goal}", f"validation: {goal}")
    figure.savefig(path, dpi=120)


def _draw_series(axes: Axes, records: Sequence[Scores], name: str, title: str) -> None:
    points = [(record["step"], record[name]) for record in records if name in record]
    axes.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else "")
    axes.set(title=title, xlabel="step")
    axes.grid(alpha=0.3)


def draw_predictions(outputs: Mapping[str, np.ndarray], scores: Scores, names: Sequence[str], path: Path) -> None:
    """Predictions against labels, a panel for each label."""
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat[len(names) :]:
        axes.remove()
    for index, (axes, name) in enumerate(zip(grid.flat, names, strict=False)):
        known = outputs["label_mask"][:, index]
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        axes.scatter(outputs["labels"][known, index], outputs["predictions"][known, index], s=8, alpha=0.5)
        axes.set_title(f"{name}: {scores.get(f'{name}/pearson', float('nan')):.3f}", fontsize=10)
    figure.supxlabel("label")
    figure.supylabel("prediction")
    figure.savefig(path, dpi=120)


def draw_weights(outputs: Mapping[str, np.ndarray], path: Path) -> None:
    """How the quality-aware module weighs the modalities: weights of all clips, and of those that lack one."""
    present, weights = outputs["present"], outputs["weights"]
    groups = {"all three present": present.all(1)}
    groups |= {f"no {name}": ~present[:, index] for index, name in enumerate(MODALITIES)}
    groups = {title: rows for title, rows in groups.items() if rows.any()}
    figure = Figure(figsize=(2.6 * len(groups), 3.2), layout="constrained")
    grid = figure.subplots(1, len(groups), squeeze=False, sharey=True)
    for axes, (title, rows) in zip(grid.flat, groups.items(), strict=True):
        axes.boxplot([weights[rows, index] for index in range(len(MODALITIES))], tick_labels=MODALITIES)
        axes.set_title(f"{title} ({int(rows.sum())})", fontsize=10)
        axes.grid(alpha=0.3)
    grid[0, 0].set_ylabel("weight")
    figure.savefig(path, dpi=120)


def draw_retrieval(scores: Scores, path: Path) -> None:
    """Recall@1 and recall@5 in each direction, with chance as a line across the bars."""
    directions = sorted({name.split("/")[0] for name in scores if "_to_" in name})
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), ("recall@1", "recall@5"), strict=True):
        axes.bar(
            [name.replace("_to_", "\nto ") for name in directions], [scores[f"{name}/{metric}"] for name in directions]
        )
        chance = max(scores[f"chance_{pair}/{metric}"] for pair in _pairs(scores))
        axes.axhline(chance, color="black", linestyle="--", label=f"chance {chance:.4f}")
        axes.set_title(metric)
        axes.legend()
    figure.savefig(path, dpi=120)
