"""Figures that say where a model errs: calibration, confusion, groups of clips, subjects, and against another model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from emi_jax.metrics.subjects import SubjectScores
from emi_jax.report.figures import new_figure
from emi_jax.report.svg import INK, SERIES, style

Results = Mapping[str, Any]

STRONGEST = 0.75
"""Opacity of a correlation of 1 or -1: text on it stays legible on light and dark pages."""
FEW_MARKS = 60
"""Subjects up to this number are drawn as marks, more as a line."""


def groups(results: Results) -> Figure:
    """Pearson and squared error of all clips, by modalities and by length, with their intervals.

    Args:
        results: of `runs.scores.measure`.
    """
    parts: list[Mapping[str, Any]] = [results["availability"], results["lengths"]]
    rows = [("all clips", results["clips"], results["mean"])]
    breaks = []
    for part in filter(None, parts):
        breaks.append(len(rows) - 0.5)
        rows += [(title, row["clips"], row) for title, row in part.items()]
    with style():
        figure = new_figure(9, 0.9 + 0.27 * len(rows))
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, metric, title in ((left, "pearson", "mean Pearson"), (right, "mse", "mean squared error")):
            for place, (_, _, row) in enumerate(rows):
                _point(axes, row[metric], row[f"{metric}_interval"], place, "C0" if place else "C1")
            for border in breaks:
                axes.axhline(border, color=INK, alpha=0.3, linewidth=0.6)
            if results["mean"][metric] is not None:
                axes.axvline(results["mean"][metric], color="C1", linewidth=0.8, linestyle=":")
            axes.set_title(title, loc="left")
            axes.grid(True, axis="x")
        left.set_yticks(range(len(rows)), [f"{title} ({count})" for title, count, _ in rows])
        left.set_ylim(len(rows) - 0.4, -0.6)
    return figure


def subjects(scores: SubjectScores) -> Figure:
    """The subjects' Pearson within their clips, and their squared error, each sorted, with mean and median.

    Args:
        scores: of at least one subject.
    """
    with style():
        figure = new_figure(9, 3.2)
        panels = ((scores.pearson, "Pearson within each subject"), (scores.mse, "mean squared error of each subject"))
        for axes, (values, title) in zip(figure.subplots(1, 2), panels, strict=True):
            known = np.sort(values[np.isfinite(values[:, -1]), -1])
            if len(known):
                places = np.arange(1, len(known) + 1)
                axes.plot(places, known, *(["o"] if len(known) <= FEW_MARKS else ["-"]), markersize=4)
                axes.axhline(known.mean(), color="C1", linewidth=1, label=f"mean {known.mean():.3f}")
                median = float(np.median(known))
                axes.axhline(median, color=INK, linewidth=1, linestyle=":", label=f"median {median:.3f}")
                axes.legend(fontsize=8)
            axes.set_title(title, loc="left")
            axes.set_xlabel(f"{len(known)} subjects, sorted")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(True, axis="y")
    return figure


def calibration(results: Results, label_range: tuple[float, float] = (0.0, 1.0)) -> Figure:
    """Mean label against mean prediction in bins of equally many clips, a panel for each label, in the users' units.

    Args:
        results: {name: the fields of `Calibration`}.
        label_range: lowest and highest label in the users' units.
    """
    low, high = label_range
    columns = max(1, min(3, len(results)))
    rows = max(1, -(-len(results) // columns))
    with style():
        figure = new_figure(3 * columns, 3 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in grid.flat[len(results) :]:
            axes.remove()
        for axes, (name, row) in zip(grid.flat, results.items(), strict=False):
            x, y, ends = (
                low + (high - low) * np.array(row[field], np.float64) for field in ("prediction", "label", "interval")
            )
            axes.plot([low, high], [low, high], color=INK, alpha=0.3, linewidth=1)
            axes.vlines(x, *ends.T, color="C0", alpha=0.6)
            axes.plot(x, y, marker="o", markersize=4, color="C0")
            axes.set_title(name)
            axes.grid(True)
        figure.supxlabel("mean prediction")
        figure.supylabel("mean label, with 95% interval")
    return figure


def confusion(results: Results, names: Sequence[str]) -> Figure:
    """Three matrices of correlations: of the labels, of predictions with labels, and of the errors.

    Args:
        results: {matrix: [K][K]}, None where undefined.
        names: the K label names.
    """
    panels = {
        "labels": ("labels with labels", "label", "label"),
        "predictions": ("predictions with labels", "prediction", "label"),
        "residuals": ("errors with errors", "error", "error"),
    }
    size = max(2.0, 0.45 * len(names))
    with style():
        figure = new_figure(1.6 + 3 * (size + 0.2), size + 1.4)
        for axes, (key, (title, row, column)) in zip(figure.subplots(1, 3, sharey=True), panels.items(), strict=True):
            matrix = np.array(results[key], np.float64)
            axes.imshow(_tinted(matrix), interpolation="nearest", aspect="equal")
            for i, j in np.ndindex(*matrix.shape):
                if np.isfinite(matrix[i, j]):
                    axes.text(j, i, _short(float(matrix[i, j])), ha="center", va="center", fontsize=7)
            axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(len(names)), names)
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_title(title)
            axes.set_xlabel(column)
            axes.set_ylabel(row)
    return figure


def comparison(results: Results) -> Figure:
    """Pearson of two models by label, and their paired differences with intervals.

    Args:
        results: of `runs.comparison.compare`.
    """
    rows = [*results["labels"].items(), ("mean", results["mean"])]
    with style():
        figure = new_figure(9, 1.2 + 0.3 * len(rows))
        left, right = figure.subplots(1, 2, sharey=True)
        for place, (_, row) in enumerate(rows):
            for field, offset, color in (("pearson", -0.17, "C0"), ("other_pearson", 0.17, "C7")):
                if row[field] is not None:
                    left.barh(place + offset, row[field], height=0.32, color=color)
            _point(right, row["difference"], row["interval"], place, "C0")
        for field, color in (("this model", "C0"), ("the other", "C7")):
            left.barh(0, 0, color=color, label=field)
        right.axvline(0, color=INK, linewidth=0.8)
        left.set_yticks(range(len(rows)), [name for name, _ in rows])
        left.invert_yaxis()
        left.set_title("Pearson", loc="left")
        right.set_title("difference, with 95% intervals", loc="left")
        for axes in (left, right):
            axes.grid(True, axis="x")
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def _point(axes: Axes, value: float | None, ends: Sequence[float | None], place: float, color: str) -> None:
    """A value with its interval in a row; nothing where it is undefined."""
    if value is not None:
        axes.plot([value], [place], "o", color=color, markersize=4)
    low, high = ends
    if low is not None and high is not None:
        axes.hlines(place, low, high, color=color)


def _tinted(matrix: np.ndarray) -> np.ndarray:
    """Colours [.., .., 4] of correlations: transparent at 0, one colour towards 1 and another towards -1."""
    positive, negative = np.array(to_rgb(SERIES[0])), np.array(to_rgb(SERIES[1]))
    strength = np.nan_to_num(np.abs(matrix))[..., None] * STRONGEST
    return np.concatenate([np.where(matrix[..., None] < 0, negative, positive), strength], axis=-1)


def _short(value: float) -> str:
    """Two decimals without the zero before the point, and no sign of what rounds to zero."""
    text = f"{value:.2f}"
    return {"-0.00": ".00", "1.00": "1", "-1.00": "-1"}.get(text, text.replace("0.", ".", 1))
