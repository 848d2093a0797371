"""Predictions over time from faces, sound and words as they come, from a camera and a microphone for instance.

```python
predictor = Predictor.load("runs/demo/stage2")
for found in stream(predictor, arrivals(), predictor.windows(2.0, 0.5)):
    print(found.start, found.end, found.intensities, found.flags)
```
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np

from emi_jax.inputs.pieces import Piece, empty_example
from emi_jax.inputs.windows import Cutter, Window, Windows
from emi_jax.modalities import AUDIO, SAMPLE_RATE, VISION
from emi_jax.prediction import WindowPrediction
from emi_jax.runs.predictor import Predictor
from emi_jax.runs.recording import of_window

PATIENCE = 1.0
"""Seconds that a window waits for sound that is later than the pictures, or the reverse; then it goes without."""
QUALITY = 95
"""JPEG quality of faces that come as arrays."""
NO_LANDMARKS = np.full((5, 2), np.nan, np.float32)


class Frame(NamedTuple):
    """A picture, cut out as the model's own clips were, see `data_prep.clips.crops.cut`.

    Attributes:
        seconds: since the start of the stream; later than the frame before.
        face: the crop, uint8 [side, side, 3] RGB or a JPEG file; None if the picture shows no face.
        landmarks: float [5, 2] as in the dataset, for descriptors of the face.
    """

    seconds: float
    face: np.ndarray | bytes | None
    landmarks: np.ndarray = NO_LANDMARKS


class Sound(NamedTuple):
    """Samples int16 [n], mono at 16 kHz, that follow on those before; the first one is at second 0 of the stream."""

    samples: np.ndarray


class Words(NamedTuple):
    """Words, and when they are spoken in seconds since the start of the stream; given before their window is complete.

    Several words share their time evenly.
    """

    text: str
    start: float
    end: float


def stream(
    predictor: Predictor, arrivals: Iterable[Frame | Sound | Words], windows: Windows
) -> Iterator[WindowPrediction]:
    """Predicts the windows of a stream, each as soon as it is complete; at the end of the stream what remains of it.

    The values are those of the same windows of a recorded clip. Memory holds no more than the current window.

    The delay: a window is complete once a frame and sound at or after its end have come, or one of them a second
    later if the other stays away. What happens now is therefore in a prediction after at most a hop, plus the time
    that the model takes, and has its full share of it after the length of a window: a prediction describes its window,
    whose middle lies half that length back. With a causal TCN (`model.head.fusion.tcn_causal`) the reliability of a
    frame does not depend on later frames of the window, as it does on 30 of them with the centred one. The delay is
    the same, since the BiLSTM and the decoder read whole windows.

    Args:
        predictor: a trained run.
        arrivals: in the order in which they come.
        windows: from `predictor.windows`.
    """
    cutter = Cutter(windows)
    fronts: dict[str, float] = {}  # up to which second frames and sound have come
    for arrival in arrivals:
        piece = Piece(arrival.seconds if isinstance(arrival, Frame) else fronts.get(AUDIO, 0.0), 0.0, False)
        cutter.hold(_example(arrival), piece)
        if isinstance(arrival, Frame):
            fronts[VISION] = arrival.seconds
        elif isinstance(arrival, Sound):
            fronts[AUDIO] = piece.start + len(arrival.samples) / SAMPLE_RATE
        if fronts:
            until = max(min(fronts.values()), max(fronts.values()) - PATIENCE)
            yield from _predicted(predictor, cutter.until(until), windows.seconds)
    yield from _predicted(predictor, cutter.finish(), windows.seconds)


def _predicted(predictor: Predictor, complete: Iterable[Window], seconds: float) -> Iterator[WindowPrediction]:
    """The predictions of windows, a batch at a time."""
    waiting = list(complete)
    for first in range(0, len(waiting), predictor.batch_size):
        batch = waiting[first : first + predictor.batch_size]
        for window, found in zip(batch, predictor.predict_windows(batch, seconds), strict=True):
            yield of_window(window, found)


def _example(arrival: Frame | Sound | Words) -> dict[str, Any]:
    """An example that holds nothing but an arrival."""
    example = empty_example()
    if isinstance(arrival, Sound):
        example["audio"] = np.asarray(arrival.samples, np.int16)
    elif isinstance(arrival, Words):
        edges = np.linspace(arrival.start, arrival.end, len(arrival.text.split()) + 1, dtype=np.float32)
        example |= {"transcript": arrival.text, "word_times": np.stack([edges[:-1], edges[1:]], axis=1)}
    else:
        example |= {
            "faces": [_jpeg(arrival.face)],
            "times": np.array([arrival.seconds], np.float32),
            "face_found": np.array([arrival.face is not None]),
            "landmarks": np.asarray(arrival.landmarks, np.float32)[None],
        }
    return example


def _jpeg(face: np.ndarray | bytes | None) -> bytes:
    if face is None or isinstance(face, bytes):
        return face or b""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(face, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()
