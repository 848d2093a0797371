"""The page of one clip: what the model saw, heard and read, how reliable it judged each step, and what it predicted."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emi_jax.modalities import AUDIO, MODALITIES, SAMPLE_RATE, TEXT, VISION
from emi_jax.prediction import Prediction
from emi_jax.report import page
from emi_jax.report.figures import new_figure
from emi_jax.report.page import Image
from emi_jax.report.svg import INK, style, to_svg
from emi_jax.report.tables import Table

MELS, HOP, WINDOW = 64, 160, 400
"""Of the mel spectrogram: bands; step and length of the windows in samples (10 and 25 ms)."""


def write_clip_page(path: Path, prediction: Prediction, label_range: tuple[float, float]) -> Path:
    """Writes a clip's page as one self-contained file.

    Args:
        path: of the page.
        prediction: of the clip. Known labels are shown next to the predictions.
        label_range: lowest and highest label in the users' units.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    return page.write(
        path,
        "clip.html",
        f"clip {prediction.id}",
        informed=prediction.informed,
        remarks=prediction.remarks,
        intensities=Image.svg("Predicted intensities.", to_svg(intensities(prediction, label_range))),
        intensity_table=_intensity_table(prediction, label_range),
        weights=Image.svg("Weights and effective shares of the modalities.", to_svg(weights(prediction))),
        weight_table=_weight_table(prediction),
        own={name: int(np.sum(prediction.arrays.get(f"{name}/mask", 0))) for name in MODALITIES},
        frames=_frames(prediction),
        course=Image.svg(
            "Waveform, mel spectrogram, and reliability of face and voice over time.", to_svg(course(prediction))
        ),
        words=_words(prediction),
    )


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


def course(prediction: Prediction) -> Figure:
    """Waveform, mel spectrogram, and the reliabilities of frames and voice, over the seconds that the model read."""
    audio = _voice(prediction)
    with style():
        figure = new_figure(9, 5.4)
        wave, mel, reliability = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.5, 1))
        if len(audio):
            wave.plot(np.arange(len(audio)) / SAMPLE_RATE, audio, linewidth=0.4, rasterized=True)
            _draw_mel(mel, audio)
        else:
            wave.text(0.5, 0.5, "no sound", transform=wave.transAxes, ha="center")
        wave.set(ylabel="waveform", ylim=(-1, 1))
        mel.set_ylabel("Hz, mel scale")
        for name, line, label in ((AUDIO, "-", "voice"), (VISION, "o-", "face"), (TEXT, ".", "words")):
            if name in prediction.reliability and len(steps := prediction.reliability[name]):
                reliability.plot(prediction.times[name], steps, line, label=label, markersize=3)
        reliability.set(ylim=(-0.05, 1.05), ylabel="reliability r", xlabel="seconds")
        reliability.axhline(1, color=INK, linewidth=0.4, alpha=0.4)
        if reliability.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", ncols=3)
    return figure


def _draw_mel(axes: Axes, audio: np.ndarray) -> None:
    power = librosa.feature.melspectrogram(
        y=audio, sr=SAMPLE_RATE, n_fft=WINDOW, hop_length=HOP, n_mels=MELS, fmax=SAMPLE_RATE / 2
    )
    picture = librosa.power_to_db(power, ref=np.max)
    end = len(audio) / SAMPLE_RATE
    bands = librosa.mel_frequencies(MELS, fmax=SAMPLE_RATE / 2)
    hertz = (500, 1000, 2000, 4000)
    axes.set_yticks(np.interp(hertz, bands, np.arange(MELS) + 0.5), [str(value) for value in hertz])
    axes.imshow(picture, origin="lower", aspect="auto", extent=(0, end, 0, MELS), cmap="magma", rasterized=True)


def _voice(prediction: Prediction) -> np.ndarray:
    """The samples that the model read, float32 in [-1, 1]."""
    if "audio" not in prediction.arrays:
        return np.zeros(0, np.float32)
    return prediction.arrays["audio"][prediction.arrays["audio_mask"]].astype(np.float32) / 32768


def _picks(prediction: Prediction) -> np.ndarray:
    """Which of the clip's pictures the model read."""
    picks = prediction.arrays["frame_picks"]
    return picks[picks >= 0]


def _words(prediction: Prediction) -> list[tuple[str, float]]:
    """The tokens that the model read, each with its reliability."""
    if not prediction.tokens:  # no words, or steps of the user's own features
        return []
    return list(zip(prediction.tokens, map(float, prediction.reliability[TEXT]), strict=True))


def _times(prediction: Prediction) -> np.ndarray:
    return np.asarray(prediction.example["times"])[_picks(prediction)]


def _frames(prediction: Prediction) -> list[Mapping[str, Any]]:
    """The face crops that the model read, each with its time and reliability."""
    if "frame_mask" not in prediction.arrays or not len(prediction.example["face_found"]):
        return []
    found = np.flatnonzero(prediction.arrays["frame_mask"])
    reliability = dict(zip(found, prediction.reliability.get(VISION, []), strict=True))
    return [
        {
            "image": Image.jpeg(f"face at {seconds:.2f} s", prediction.example["faces"][pick]),
            "seconds": f"{seconds:.2f}",
            "found": place in reliability,
            "reliability": f"r {reliability[place]:.2f}" if place in reliability else "no face found",
        }
        for place, (pick, seconds) in enumerate(zip(_picks(prediction), _times(prediction), strict=True))
    ]
