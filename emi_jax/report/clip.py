"""The page of one clip: what was seen, heard and read, how far each step is trusted, and what was concluded."""

import html
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emi_jax.inputs.transforms import pick_frames
from emi_jax.modalities import AUDIO, SAMPLE_RATE, TEXT, VISION
from emi_jax.prediction import Prediction
from emi_jax.report import page
from emi_jax.report.figures import new_figure
from emi_jax.report.svg import INK, style, to_svg

MELS, HOP, WINDOW = 64, 160, 400
"""Bands, and step and length of the windows in samples: 10 and 25 ms."""


def write_clip_page(path: Path, prediction: Prediction, label_range: tuple[float, float]) -> Path:
    """Writes a clip's page: one self-contained file, with the labels beside the predictions where they are known."""
    parts = []
    if not prediction.informed:
        parts.append(page.note("Nothing to see, hear or read: the intensities are what the model expects of any clip."))
    parts.append(page.section("Intensities", to_svg(intensities(prediction, label_range))))
    parts.append(page.section("Modality weights", to_svg(weights(prediction))))
    parts.append(page.section("Face", *_frames(prediction)))
    parts.append(page.section("Voice and reliability over time", to_svg(course(prediction))))
    parts.append(page.section("Words", *_words(prediction)))
    path.parent.mkdir(parents=True, exist_ok=True)
    return page.write(path, f"clip {prediction.id}", parts)


def intensities(prediction: Prediction, label_range: tuple[float, float]) -> Figure:
    """Predictions as bars, known labels as marks."""
    low, high = label_range
    labels = low + (high - low) * np.asarray(prediction.example["labels"], np.float64)
    names = list(prediction.intensities)
    with style():
        figure = new_figure(7, 0.5 + 0.32 * len(names))
        axes = figure.subplots()
        axes.barh(names, list(prediction.intensities.values()), height=0.6, label="prediction")
        if len(labels) and np.isfinite(labels).any():
            axes.plot(labels, range(len(labels)), "D", color="C1", markersize=5, label="label")
            axes.legend(loc="lower right")
        axes.set_xlim(low, high)
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
        axes.barh(places + 0.2, list(prediction.share.values()), height=0.36, label="share w · mean r")
        axes.set_yticks(places, names)
        axes.set_xlim(0, 1)
        axes.invert_yaxis()
        axes.legend()
        axes.grid(True, axis="x")
    return figure


def course(prediction: Prediction) -> Figure:
    """Waveform, mel spectrogram, and the reliabilities of frames and voice, over the seconds given to the model."""
    arrays, audio = prediction.arrays, _voice(prediction)
    with style():
        figure = new_figure(9, 5.4)
        wave, mel, trust = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.5, 1))
        if len(audio):
            wave.plot(np.arange(len(audio)) / SAMPLE_RATE, audio, linewidth=0.4, rasterized=True)
            _draw_mel(mel, audio)
        else:
            wave.text(0.5, 0.5, "no voice", transform=wave.transAxes, ha="center")
        wave.set(ylabel="waveform", ylim=(-1, 1))
        mel.set_ylabel("mel bands, dB")
        if AUDIO in prediction.reliability and len(steps := prediction.reliability[AUDIO]):
            seconds = (np.arange(len(steps)) + 0.5) * len(audio) / SAMPLE_RATE / len(steps)
            trust.plot(seconds, steps, label="voice")
        if VISION in prediction.reliability and len(steps := prediction.reliability[VISION]):
            times = _times(prediction)[np.flatnonzero(arrays["frame_mask"])]
            trust.plot(times, steps, "o-", label="face", markersize=3)
        trust.set(ylim=(-0.05, 1.05), ylabel="reliability r", xlabel="seconds")
        trust.axhline(1, color=INK, linewidth=0.4, alpha=0.4)
        if trust.get_legend_handles_labels()[0]:
            trust.legend(ncols=2)
    return figure


def _draw_mel(axes: Axes, audio: np.ndarray) -> None:
    power = librosa.feature.melspectrogram(
        y=audio, sr=SAMPLE_RATE, n_fft=WINDOW, hop_length=HOP, n_mels=MELS, fmax=SAMPLE_RATE / 2
    )
    picture = librosa.power_to_db(power, ref=np.max)
    end = len(audio) / SAMPLE_RATE
    axes.imshow(picture, origin="lower", aspect="auto", extent=(0, end, 0, MELS), cmap="magma", rasterized=True)


def _voice(prediction: Prediction) -> np.ndarray:
    """The samples that the model was given, float32 in [-1, 1]."""
    if "audio" not in prediction.arrays:
        return np.zeros(0, np.float32)
    return prediction.arrays["audio"][prediction.arrays["audio_mask"]].astype(np.float32) / 32768


def _picks(prediction: Prediction) -> np.ndarray:
    """Which of the clip's pictures the model was given."""
    return pick_frames(np.asarray(prediction.example["face_found"]), len(prediction.arrays["frame_mask"]), None)


def _times(prediction: Prediction) -> np.ndarray:
    return np.asarray(prediction.example["times"])[_picks(prediction)]


def _frames(prediction: Prediction) -> Sequence[str]:
    """The pictures in a strip, each with its time and reliability."""
    if "frame_mask" not in prediction.arrays or not len(prediction.example["face_found"]):
        return [page.note("No pictures.")]
    trust = dict(
        zip(np.flatnonzero(prediction.arrays["frame_mask"]), prediction.reliability.get(VISION, []), strict=True)
    )
    strip = []
    for place, (pick, seconds) in enumerate(zip(_picks(prediction), _times(prediction), strict=True)):
        told = f"r {trust[place]:.2f}" if place in trust else "no face found"
        picture = page.jpeg(prediction.example["faces"][pick], f"face at {seconds:.2f} s")
        strip.append(f"<figure>{picture}<figcaption>{seconds:.2f} s<br>{told}</figcaption></figure>")
    return [f'<div class="strip">{"".join(strip)}</div>']


def _words(prediction: Prediction) -> Sequence[str]:
    """The tokens, greener the more they are trusted."""
    trust = prediction.reliability.get(TEXT, np.zeros(0))
    if not len(prediction.tokens):
        return [page.note("No transcript.")]
    marks = [
        f'<mark style="--r:{0.6 * float(r):.2f}" title="r {float(r):.2f}">{html.escape(token)}</mark>'
        for token, r in zip(prediction.tokens, trust, strict=True)
    ]
    return [f"<p>{' '.join(marks)}</p>", page.note("The greener, the more reliable; hover to read r.")]
