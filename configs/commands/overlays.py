"""Films of new clips with their predictions drawn in."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from data_prep.clips.clip import ClipSource
from data_prep.errors import ClipError
from data_prep.overlay.film import write_overlay
from data_prep.overlay.panel import Course
from emi_jax.prediction import Prediction, places_of

log = logging.getLogger("emi_jax")


def overlays(clips: Sequence[ClipSource], label_range: tuple[float, float]) -> Callable[[Path, Prediction], bool]:
    """A function that writes the film of a predicted clip to a path. It returns whether it can; the log says why not.

    Args:
        clips: the clips.
        label_range: lowest and highest label in the users' units.
    """
    sources = {clip.id: clip.video for clip in clips}

    def draw(target: Path, prediction: Prediction) -> bool:
        source = sources[prediction.id]
        try:
            if source is None:
                raise ClipError(prediction.id, "has no pictures to draw into")
            write_overlay(source, target, _course(prediction, label_range))
        except ClipError as error:
            log.warning("no overlay: %s", error)
            return False
        return True

    return draw


def _course(prediction: Prediction, label_range: tuple[float, float]) -> Course:
    """What is drawn of a clip: its windows, or itself as a single one."""
    if prediction.over_time:
        windows, places = prediction.over_time.windows, prediction.over_time.places
        seconds = np.array([(window.start + window.end) / 2 for window in windows])
        values = [(window.intensities, window.weights, window.flags) for window in windows]
    else:
        seconds, places = np.zeros(1), places_of(prediction.example)
        values = [(prediction.intensities, prediction.weights, ())]
    return Course(
        seconds=seconds,
        labels=list(prediction.intensities),
        intensities=np.array([list(intensities.values()) for intensities, _, _ in values]),
        label_range=label_range,
        modalities=list(prediction.weights),
        weights=np.array([list(weights.values()) for _, weights, _ in values]),
        lacks=[lacks for _, _, lacks in values],
        places=places,
    )
