"""The prediction for one clip, and for the windows of a clip over time."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from emi_jax.inputs.dataset import Example
from emi_jax.inputs.transforms import Arrays
from emi_jax.inputs.windows import length
from emi_jax.modalities import VISION


@dataclasses.dataclass(frozen=True)
class WindowPrediction:
    """The prediction for a window of a clip.

    Attributes:
        start: seconds since the clip's start.
        end: the same of its end.
        intensities: {label: value} in the units of the labels.
        weights: {modality: its weight}, 0 for one that is missing in the window.
        share: {modality: its effective share w * mean r, normalised}.
        reliability: {modality: the mean r of its valid steps}, without those that are missing.
        flags: what the window lacks: "no face", "no sound", "no words", or "nothing" for a window without any modality,
            whose intensities are a learned prior.
        person: the number of the person whose face it is, the same in all windows of the clip; 0 if there is none.
    """

    start: float
    end: float
    intensities: dict[str, float]
    weights: dict[str, float]
    share: dict[str, float]
    reliability: dict[str, float]
    flags: tuple[str, ...]
    person: int = 0


class FaceFrame(NamedTuple):
    """A face crop as JPEG, its second since the clip's start, and its reliability; None where no face was found."""

    image: bytes
    seconds: float
    reliability: float | None


@dataclasses.dataclass(frozen=True)
class OverTime:
    """A clip over time, from its windows.

    Attributes:
        windows: in order of time, of the person who is read.
        others: the same of other people, where their faces are found.
        frames: some of the face crops that the model read, evenly spread.
        waveform: float32 [n, 3]: the second, the lowest and the highest sample, in [-1, 1], of each short part of the
            sound.
        places: float32 [n, 5]: the second of each picture, and the square of the face in it, as in
            `data_prep.clips.vision.Vision`; [0, 5] where unknown.
    """

    windows: tuple[WindowPrediction, ...]
    others: tuple[WindowPrediction, ...]
    frames: tuple[FaceFrame, ...]
    waveform: np.ndarray
    places: np.ndarray

    @property
    def all(self) -> list[WindowPrediction]:
        """The windows of all people in order of time."""
        return sorted((*self.windows, *self.others), key=lambda window: window.start)

    def facts(self) -> list[dict[str, Any]]:
        """The windows of all people in order of time, JSON-able."""
        return [
            {
                name: {key: round(float(x), 6) for key, x in value.items()} if isinstance(value, dict) else value
                for name, value in dataclasses.asdict(window).items()
            }
            for window in self.all
        ]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for one clip.

    For a clip that is predicted in windows, the intensities, weights and shares are means over its windows, without
    those that hold no modality at all, if any holds one. Its steps are those of all windows: where windows overlap,
    each moment has the steps of the window whose middle is nearest.

    Attributes:
        id: the clip's name.
        intensities: {label: value} in the units of the labels.
        weights: {modality: its weight}, 0 for one that is missing.
        share: {modality: its effective share w * mean r, normalised}.
        reliability: {modality: r of each valid step, float32 [t]}.
        times: {modality: seconds since the clip's start of each valid step, float32 [t]}.
        tokens: the words as the text encoder reads them, one for each valid step.
        informed: False for a clip with no modality at all, whose intensities are a learned prior.
        arrays: pictures, sound and words as the model reads them, from `ClipTransform.read`; empty for windows.
        example: the example from which the arrays were made; for windows that of the last one.
        remarks: what was unusual about the clip's files, a sentence each.
        over_time: the windows; None for a clip that is predicted as a whole.
    """

    id: str
    intensities: dict[str, float]
    weights: dict[str, float]
    share: dict[str, float]
    reliability: dict[str, np.ndarray]
    times: dict[str, np.ndarray]
    tokens: list[str]
    informed: bool
    arrays: Arrays
    example: Example
    remarks: tuple[str, ...] = ()
    over_time: OverTime | None = None

    @property
    def seconds(self) -> float:
        """The length of the clip."""
        return self.over_time.windows[-1].end if self.over_time else length(self.example)

    def facts(self) -> dict[str, Any]:
        """All fields but the arrays, JSON-able."""
        trust, times = (
            {name: [round(float(x), 4) for x in steps] for name, steps in part.items()}
            for part in (self.reliability, self.times)
        )
        names = ("id", "intensities", "weights", "share", "informed", "remarks")
        facts = {name: getattr(self, name) for name in names} | {"reliability": trust, "times": times}
        return facts | ({"windows": self.over_time.facts()} if self.over_time else {})


def frames_of(prediction: Prediction) -> list[FaceFrame]:
    """The face crops that the model read of a clip or window that is predicted as a whole."""
    arrays, example = prediction.arrays, prediction.example
    if "frame_mask" not in arrays or not len(example["face_found"]):
        return []
    steps = np.asarray(prediction.reliability.get(VISION, ())).tolist()
    reliability = dict(zip(np.flatnonzero(arrays["frame_mask"]).tolist(), steps, strict=True))
    picks = arrays["frame_picks"][arrays["frame_picks"] >= 0]
    return [
        FaceFrame(example["faces"][pick], float(example["times"][pick]), reliability.get(place))
        for place, pick in enumerate(picks.tolist())
    ]


def places_of(example: Example) -> np.ndarray:
    """The places of the face in the pictures of a clip, as in `OverTime`."""
    if "places" not in example:
        return np.zeros((0, 5), np.float32)
    return np.column_stack([example["times"], example["places"]]).astype(np.float32)
