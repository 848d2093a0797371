"""The page of one clip: what the model saw, heard and read, how reliable it judged each step, and what it predicted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from emi_jax.modalities import MODALITIES, TEXT
from emi_jax.prediction import Prediction, frames_of
from emi_jax.report import page
from emi_jax.report.course import course
from emi_jax.report.figures import new_figure
from emi_jax.report.page import Image
from emi_jax.report.svg import style, to_svg
from emi_jax.report.tables import Row, Table

MOST_WINDOWS = 200
"""Most windows in a page's table; the table of all is `windows.csv`."""


def write_clip_page(path: Path, prediction: Prediction, label_range: tuple[float, float]) -> Path:
    """Writes a clip's page as one self-contained file.

    Args:
        path: of the page.
        prediction: of the clip. Known labels are shown next to the predictions.
        label_range: lowest and highest label in the users' units.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return page.store(path, render_clip_page(prediction, label_range))


def render_clip_page(prediction: Prediction, label_range: tuple[float, float]) -> str:
    """The page of a clip; the arguments are those of `write_clip_page`."""
    return page.render(
        "clip.html",
        f"clip {prediction.id}",
        informed=prediction.informed,
        remarks=prediction.remarks,
        intensities=Image.svg("Predicted intensities.", to_svg(intensities(prediction, label_range))),
        intensity_table=_intensity_table(prediction, label_range),
        estimates=_estimates_quality(prediction),
        weights=Image.svg("Weights and effective shares of the modalities.", to_svg(weights(prediction))),
        weight_table=_weight_table(prediction),
        own={name: int(np.sum(prediction.arrays.get(f"{name}/mask", 0))) for name in MODALITIES},
        frames=_frames(prediction),
        windows=len(prediction.over_time.windows) if prediction.over_time else 0,
        others=_others(prediction),
        window_table=_window_table(prediction, label_range),
        course=Image.svg(_described(prediction), to_svg(course(prediction, label_range))),
        words=_words(prediction),
    )


def _estimates_quality(prediction: Prediction) -> bool:
    """Whether the model estimates reliabilities: without the Quality-Aware Module that of every step is 1."""
    return any((np.asarray(steps) < 1).any() for steps in prediction.reliability.values())


def _others(prediction: Prediction) -> int:
    """How many people are seen besides those who are read."""
    over_time = prediction.over_time
    if over_time is None:
        return 0
    return len({window.person for window in over_time.others} - {window.person for window in over_time.windows})


def _described(prediction: Prediction) -> str:
    """What the time line shows, in words."""
    if prediction.over_time:
        return "Intensities and modality weights in each window, waveform, and reliability of each modality over time."
    return "Waveform, mel spectrogram where there is sound, and reliability of each modality over time."


def _labels(prediction: Prediction, label_range: tuple[float, float]) -> np.ndarray:
    """The clip's labels in the users' units, NaN where unknown, [K]."""
    low, high = label_range
    labels = low + (high - low) * np.asarray(prediction.example["labels"], np.float64)
    return labels if len(labels) else np.full(len(prediction.intensities), np.nan)


def _intensity_table(prediction: Prediction, label_range: tuple[float, float]) -> Table:
    caption = "Intensities from {:g} to {:g}".format(*label_range)
    labels = _labels(prediction, label_range)
    if not np.isfinite(labels).any():
        return Table(caption, ["", "prediction"], list(prediction.intensities.items()))
    rows = zip(prediction.intensities, prediction.intensities.values(), labels.tolist(), strict=True)
    return Table(caption, ["", "prediction", "label"], list(rows))


def _weight_table(prediction: Prediction) -> Table:
    rows = [(name, weight, prediction.share[name]) for name, weight in prediction.weights.items()]
    return Table("Weights and effective shares", ["", "weight w", "effective share"], rows)


def intensities(prediction: Prediction, label_range: tuple[float, float]) -> Figure:
    """Predictions as bars from the low end of the labels' range, known labels as diamonds."""
    labels, names, low = _labels(prediction, label_range), list(prediction.intensities), label_range[0]
    lengths = np.array(list(prediction.intensities.values())) - low
    with style():
        figure = new_figure(7, 0.5 + 0.32 * len(names))
        axes = figure.subplots()
        axes.barh(range(len(names)), lengths, left=low, height=0.6, label="prediction")
        axes.set_yticks(range(len(names)), names)
        if np.isfinite(labels).any():
            axes.plot(labels, range(len(labels)), "D", color="C1", markersize=5, label="label")
            figure.legend(loc="outside upper right", ncols=2)
        axes.set_xlim(*label_range)
        axes.invert_yaxis()
        axes.grid(True, axis="x")
    return figure


def weights(prediction: Prediction) -> Figure:
    """The modality weights w and the effective shares w * mean r."""
    names = list(prediction.weights)
    places = np.arange(len(names))
    with style():
        figure = new_figure(7, 0.6 + 0.45 * len(names))
        axes = figure.subplots()
        axes.barh(places - 0.2, list(prediction.weights.values()), height=0.36, label="weight w")
        axes.barh(places + 0.2, list(prediction.share.values()), height=0.36, label="effective share")
        axes.set_yticks(places, names)
        axes.set_xlim(0, 1)
        axes.invert_yaxis()
        figure.legend(loc="outside upper right", ncols=2)
        axes.grid(True, axis="x")
    return figure


def _words(prediction: Prediction) -> list[tuple[str, float]]:
    """The tokens that the model read, each with its reliability."""
    if not prediction.tokens:  # no words, or steps of the user's own features
        return []
    return list(zip(prediction.tokens, map(float, prediction.reliability[TEXT]), strict=True))


def _frames(prediction: Prediction) -> list[Mapping[str, Any]]:
    """The face crops that the model read, each with its time and reliability."""
    frames = prediction.over_time.frames if prediction.over_time else frames_of(prediction)
    return [
        {
            "image": Image.jpeg(f"face at {frame.seconds:.2f} s", frame.image),
            "seconds": f"{frame.seconds:.2f}",
            "found": frame.reliability is not None,
            "reliability": "no face found" if frame.reliability is None else f"r {frame.reliability:.2f}",
        }
        for frame in frames
    ]


def _window_table(prediction: Prediction, label_range: tuple[float, float]) -> Table | None:
    """The intensities and flags of the windows; None without windows, or if they are too many for a page."""
    windows = prediction.over_time.all if prediction.over_time else ()
    if not 0 < len(windows) <= MOST_WINDOWS:
        return None
    header = ["seconds", "person", *prediction.intensities, "lacks"]
    rows: list[Row] = [
        [
            f"{window.start:.2f} to {window.end:.2f}",
            str(window.person or ""),
            *window.intensities.values(),
            ", ".join(window.flags),
        ]
        for window in windows
    ]
    return Table("Windows, with intensities from {:g} to {:g}".format(*label_range), header, rows)
