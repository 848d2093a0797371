"""The prediction for one clip."""

import dataclasses
from typing import Any

import numpy as np

from emi_jax.inputs.dataset import Example
from emi_jax.inputs.transforms import Arrays


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The prediction for one clip.

    Attributes:
        id: the clip's name.
        intensities: {label: value} in the units of the labels.
        weights: {modality: its weight}, 0 for one that is missing.
        share: {modality: its effective share w * mean r, normalised}.
        reliability: {modality: r of each valid step, float32 [t]}.
        times: {modality: seconds since the clip's start of each valid step, float32 [t]}.
        tokens: the words as the text encoder reads them, one for each valid step.
        informed: False for a clip with no modality at all, whose intensities are a learned prior.
        arrays: pictures, sound and words as the model reads them, from `ClipTransform.read`.
        example: the example from which the arrays were made.
        remarks: what was unusual about the clip's files, a sentence each.
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

    def facts(self) -> dict[str, Any]:
        """All fields but the arrays, JSON-able."""
        trust, times = (
            {name: [round(float(x), 4) for x in steps] for name, steps in part.items()}
            for part in (self.reliability, self.times)
        )
        names = ("id", "intensities", "weights", "share", "informed", "remarks")
        return {name: getattr(self, name) for name in names} | {"reliability": trust, "times": times}
