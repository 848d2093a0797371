"""A clip that is predicted in windows: cut as its pieces arrive, and put together again from their predictions."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from emi_jax.inputs.dataset import Example
from emi_jax.inputs.windows import WHOLE, Cutter, Window, Windows
from emi_jax.modalities import AUDIO, SAMPLE_RATE, TEXT, VISION
from emi_jax.prediction import FaceFrame, OverTime, Prediction, WindowPrediction, frames_of, places_of

LACKS = {VISION: "no face", AUDIO: "no sound", TEXT: "no words"}
"""Flags of a window without a modality."""
NOTHING = "nothing"
"""Flag of a window without any modality."""
MOST_FRAMES = 32
"""At most twice as many face crops are kept of a clip, however long it is."""
MOST_DETAILS = 3
"""Most details of a kind of remark; each piece of a clip may have its own."""
PEAK = SAMPLE_RATE // 100
"""Samples of a part of the waveform, 10 ms."""
IN_WINDOWS, UNTIMED = "longer than the model reads; the mean of windows is given", "words without times; spread evenly"
"""Kinds of remarks."""


class Recording:
    """One clip.

    Attributes:
        bookmark: of its last piece so far, see `emi_jax.inputs.pieces.Piece`; None if it cannot be resumed.
    """

    def __init__(self, windows: Windows, chosen: bool):
        """Starts at the clip's second 0.

        Args:
            windows: length and hop.
            chosen: whether the user chose them; otherwise the clip is longer than what the model reads, which is
                remarked.
        """
        self._cutter, self._chosen = Cutter(windows), chosen
        self.bookmark: Mapping[str, Any] | None = None
        self._remarks: dict[str, dict[str, None]] = {}  # the details of each kind
        self._windows: list[WindowPrediction] = []
        self._others: list[WindowPrediction] = []
        self._steps: dict[str, list[np.ndarray]] = {}
        self._times: dict[str, list[np.ndarray]] = {}
        self._tokens: list[str] = []
        self._frames: list[FaceFrame] = []
        self._frames_seen, self._stride = 0, 1
        self._peaks: list[np.ndarray] = []
        self._places: list[np.ndarray] = []
        self._owned = 0.0  # second up to which the steps of earlier windows count

    def cut(self, example: Example) -> Iterator[Window]:
        """The windows that are complete with the next piece of the clip."""
        for kind, detail in example.get("remarks", ()):
            self._remarks.setdefault(kind, {})[detail] = None
        self._places.append(places_of(example))
        self.bookmark = example.get("piece", WHOLE).bookmark
        return self._cutter.add(example)

    def add(self, window: Window, found: Prediction) -> None:
        """Adds the prediction of the next window."""
        if window.other:
            self._others.append(of_window(window, found))
            return
        self._windows.append(of_window(window, found))
        size, hop = self._cutter.windows.seconds, self._cutter.windows.hop
        start, end = self._owned, np.inf if window.last else window.start + (size + hop) / 2
        self._owned = end
        self._add_steps(found, start - window.start, end - window.start, window.start)
        self._add_frames(found, start - window.start, end - window.start, window.start)
        self._add_sound(found, start - window.start, end - window.start, window.start)

    def state(self) -> dict[str, Any]:
        """All of it once every window so far is predicted, for `restore`.

        Returns:
            Arrays, bytes and plain values in mappings and sequences.
        """
        return {
            "cutter": self._cutter.state(),
            "bookmark": self.bookmark,
            "remarks": {kind: list(details) for kind, details in self._remarks.items()},
            "windows": [vars(window) for window in self._windows],
            "others": [vars(window) for window in self._others],
            "steps": {name: [np.concatenate(parts)] for name, parts in self._steps.items()},
            "times": {name: [np.concatenate(parts)] for name, parts in self._times.items()},
            "tokens": self._tokens,
            "frames": self._frames,
            "frames_seen": self._frames_seen,
            "stride": self._stride,
            "peaks": [np.concatenate(self._peaks)] if self._peaks else [],
            "places": [np.concatenate(self._places)],
            "owned": self._owned,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues where another recording with the same windows was when it gave its state."""
        self._cutter.restore(state["cutter"])
        self.bookmark = state["bookmark"]
        self._remarks = {kind: dict.fromkeys(details) for kind, details in state["remarks"].items()}
        self._windows, self._others = (
            [WindowPrediction(**{**window, "flags": tuple(window["flags"])}) for window in state[name]]
            for name in ("windows", "others")
        )
        self._steps, self._times, self._tokens = state["steps"], state["times"], state["tokens"]
        self._frames = [FaceFrame(*frame) for frame in state["frames"]]
        self._frames_seen, self._stride = state["frames_seen"], state["stride"]
        self._peaks, self._places, self._owned = state["peaks"], state["places"], state["owned"]

    def prediction(self, last: Prediction) -> Prediction:
        """The prediction of the clip after its last window, whose own prediction is given."""
        informed = [window for window in self._windows if NOTHING not in window.flags]
        counted = informed or self._windows
        steps, times = (
            {name: np.concatenate(parts) for name, parts in kept.items()} for kept in (self._steps, self._times)
        )
        waveform = np.concatenate(self._peaks) if self._peaks else np.zeros((0, 3), np.float32)
        return dataclasses.replace(
            last,
            intensities=_mean([window.intensities for window in counted]),
            weights=_mean([window.weights for window in counted]),
            share=_mean([window.share for window in counted]),
            reliability=steps,
            times=times,
            tokens=self._tokens,
            informed=bool(informed),
            arrays={name: np.ones(len(steps[part]), bool) for part in steps if (name := f"{part}/mask") in last.arrays},
            remarks=tuple(self._sentences()),
            over_time=OverTime(
                tuple(self._windows), tuple(self._others), tuple(self._frames), waveform, np.concatenate(self._places)
            ),
        )

    def _sentences(self) -> Iterator[str]:
        """Remarks on the clip: those of its pieces, whether it is too long to be read at once, what windows lack."""
        windows, size = self._windows, self._cutter.windows.seconds
        for kind, details in self._remarks.items():
            known = [detail for detail in details if detail]
            shown = "; ".join(known[:MOST_DETAILS]) + ("; ..." if len(known) > MOST_DETAILS else "")
            yield f"{kind} ({shown})" if shown else kind
        if not self._chosen and len(windows) > 1:
            yield f"{IN_WINDOWS} ({len(windows)} of {size:g} s in {windows[-1].end:.1f} s)"
        if self._cutter.untimed and len(windows) > 1:
            yield UNTIMED
        for flag in (*LACKS.values(), NOTHING):
            if count := sum(flag in window.flags for window in windows):
                yield f"windows with {flag} ({count} of {len(windows)})"

    def _add_steps(self, found: Prediction, start: float, end: float, shift: float) -> None:
        """Adds the steps between two seconds of a window."""
        for name, times in found.times.items():
            inside = (times >= start) & (times < end)
            self._times.setdefault(name, []).append(times[inside] + np.float32(shift))
            self._steps.setdefault(name, []).append(found.reliability[name][inside])
            if name == TEXT and found.tokens:
                self._tokens += [token for token, kept in zip(found.tokens, inside, strict=True) if kept]

    def _add_frames(self, found: Prediction, start: float, end: float, shift: float) -> None:
        """Adds face crops; of the many of a long clip every second one is dropped each time that they are too many."""
        for frame in frames_of(found):
            if not start <= frame.seconds < end:
                continue
            if self._frames_seen % self._stride == 0:
                self._frames.append(frame._replace(seconds=frame.seconds + shift))
            self._frames_seen += 1
            if len(self._frames) > 2 * MOST_FRAMES:
                self._frames, self._stride = self._frames[::2], 2 * self._stride

    def _add_sound(self, found: Prediction, start: float, end: float, shift: float) -> None:
        if "audio" not in found.arrays:
            return
        sound = found.arrays["audio"][found.arrays["audio_mask"]].astype(np.float32) / 32768
        first, stop = (round(min(max(0.0, second) * SAMPLE_RATE, len(sound))) for second in (start, end))
        if stop <= first:
            return
        edges = np.arange(first, stop, PEAK)
        lowest, highest = (extreme.reduceat(sound[:stop], edges) for extreme in (np.minimum, np.maximum))
        seconds = shift + (edges + PEAK / 2) / SAMPLE_RATE
        self._peaks.append(np.stack([seconds, lowest, highest], axis=1).astype(np.float32))


def of_window(window: Window, found: Prediction) -> WindowPrediction:
    """The prediction of a window, given that of its content as a clip."""
    means = {name: float(np.mean(steps)) for name, steps in found.reliability.items() if len(steps)}
    flags = [LACKS[name] for name, steps in found.reliability.items() if not len(steps)]
    flags += [] if found.informed else [NOTHING]
    return WindowPrediction(
        window.start, window.end, found.intensities, found.weights, found.share, means, tuple(flags), window.person
    )


def _mean(parts: list[dict[str, float]]) -> dict[str, float]:
    """The means of values by name."""
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
