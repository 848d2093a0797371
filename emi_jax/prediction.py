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
        tokens: the words as the text encoder reads them, one for each valid step.
        informed: False for a clip with no modality at all, whose intensities are a learned prior.
        arrays: the inputs of the model, as `ClipTransform` makes them.
        example: the example from which the arrays were made.
        remarks: what was unusual about the clip's files, a sentence each.
    """

    id: str
    intensities: dict[str, float]
    weights: dict[str, float]
    share: dict[str, float]
    reliability: dict[str, np.ndarray]
    tokens: list[str]
    informed: bool
    arrays: Arrays
    example: Example
    remarks: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """All fields but the arrays, JSON-able."""
        trust = {name: [round(float(r), 4) for r in steps] for name, steps in self.reliability.items()}
        names = ("id", "intensities", "weights", "share", "informed", "remarks")
        return {name: getattr(self, name) for name in names} | {"reliability": trust}
