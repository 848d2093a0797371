"""The time line of a clip: its sound and reliabilities, and for a clip that is predicted in windows its intensities."""

from collections.abc import Mapping, Sequence

import librosa
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emi_jax.modalities import AUDIO, SAMPLE_RATE, TEXT, VISION
from emi_jax.prediction import Prediction, WindowPrediction
from emi_jax.report.figures import new_figure
from emi_jax.report.svg import INK, SERIES, style

MELS, HOP, WINDOW = 64, 160, 400
"""Of the mel spectrogram: bands; step and length of the windows in samples (10 and 25 ms)."""
MOST_POINTS = 2000
"""A line of more points is drawn as an image, since an SVG path of them would be large."""
LINES = ("-", "--", ":")
"""Styles of lines, one after the other when the colours have been used up."""
MODALITY_NAMES = {AUDIO: ("voice", "-"), VISION: ("face", "o-"), TEXT: ("words", ".")}
"""Name and line of the reliability of each modality."""


def course(prediction: Prediction, label_range: tuple[float, float]) -> Figure:
    """The time line of what the model read.

    A clip that is predicted as a whole: waveform and mel spectrogram of what the model heard, if anything, and the
    reliabilities of its steps. One that is predicted in windows: its intensities and weights in each window, waveform
    and reliabilities.

    Args:
        prediction: of the clip.
        label_range: lowest and highest label in the users' units.
    """
    with style():
        if prediction.over_time is None:
            audio = _voice(prediction)
            if len(audio):
                figure = new_figure(9, 5.4)
                wave, mel, reliability = figure.subplots(3, 1, sharex=True, height_ratios=(1, 1.5, 1))
                wave.plot(np.arange(len(audio)) / SAMPLE_RATE, audio, linewidth=0.4, rasterized=True)
                _draw_mel(mel, audio)
            else:
                figure = new_figure(9, 3.2)
                wave, reliability = figure.subplots(2, 1, sharex=True)
        else:
            figure = new_figure(9, 7.6)
            above, weights, wave, reliability = figure.subplots(4, 1, sharex=True, height_ratios=(2.2, 1, 1, 1))
            windows, audio = prediction.over_time.windows, prediction.over_time.waveform
            _draw_curves(above, windows, [window.intensities for window in windows])
            above.set(ylabel="intensity", ylim=label_range)
            above.legend(loc="center left", bbox_to_anchor=(1, 0.5))
            _draw_curves(weights, windows, [window.weights for window in windows])
            weights.set(ylabel="weight w", ylim=(-0.05, 1.05))
            weights.legend(loc="center left", bbox_to_anchor=(1, 0.5))
            wave.fill_between(*audio.T, linewidth=0.4, edgecolor="C0", rasterized=True)
            reliability.set_xlim(0, max(window.end for window in windows) or 1)
        if not len(audio):
            wave.text(0.5, 0.5, "no sound", transform=wave.transAxes, ha="center", va="center")
        wave.set(ylabel="waveform", ylim=(-1, 1))
        _draw_reliability(reliability, prediction)
        if reliability.get_legend_handles_labels()[0]:
            figure.legend(*reliability.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_curves(axes: Axes, windows: Sequence[WindowPrediction], values: Sequence[Mapping[str, float]]) -> None:
    """A curve for each name, through the middles of the windows and flat at both ends."""
    middles = [(window.start + window.end) / 2 for window in windows]
    seconds = [windows[0].start, *middles, windows[-1].end]
    for number, name in enumerate(values[0]):
        curve = [part[name] for part in values]
        axes.plot(
            seconds,
            [curve[0], *curve, curve[-1]],
            LINES[number // len(SERIES) % len(LINES)],
            label=name,
            rasterized=len(seconds) > MOST_POINTS,
        )
    axes.grid(True)


def _draw_reliability(axes: Axes, prediction: Prediction) -> None:
    for name, (label, line) in MODALITY_NAMES.items():
        if name in prediction.reliability and len(steps := prediction.reliability[name]):
            many = len(steps) > MOST_POINTS
            axes.plot(prediction.times[name], steps, line, label=label, markersize=3, rasterized=many)
    axes.set(ylim=(-0.05, 1.05), ylabel="reliability r", xlabel="seconds")
    axes.axhline(1, color=INK, linewidth=0.4, alpha=0.4)


def _draw_mel(axes: Axes, audio: np.ndarray) -> None:
    power = librosa.feature.melspectrogram(
        y=audio, sr=SAMPLE_RATE, n_fft=WINDOW, hop_length=HOP, n_mels=MELS, fmax=SAMPLE_RATE / 2
    )
    axes.set_ylabel("Hz, mel scale")
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
