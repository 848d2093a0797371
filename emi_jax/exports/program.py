"""The predictor as one serialized StableHLO program for CPUs, NVIDIA GPUs and TPUs, whose weights are arguments."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import export

from emi_jax.inputs.transforms import ClipTransform
from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION
from emi_jax.runs.evaluation import of_members
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.standardisation import standardised

PLATFORMS = ("cpu", "cuda", "tpu")
DERIVED = re.compile(r"(clean|supervised)$")
"""The flags of steps that only training reads; when predicting, they equal the mask."""
RAW_PARTS = {
    VISION: ("frames", "frame_mask", "frame_times"),
    AUDIO: ("audio", "audio_mask"),
    TEXT: ("tokens", "token_mask", "token_times"),
}
"""The arrays of a modality with a tower: its steps, their mask and, where they have one each, their times."""

Arrays = Mapping[str, jax.Array]


def input_names(transform: ClipTransform) -> dict[str, tuple[str, ...]]:
    """By modality in use, the arrays of a clip that the program takes: the steps, their mask and their times."""
    described = {*transform.describers, *transform.own}
    features = {name: tuple(f"{name}/{part}" for part in ("features", "mask", "times")) for name in described}
    return {name: (RAW_PARTS | features)[name] for name in transform.shape.modalities}


def export_program(experiment: Experiment, params: Mapping[str, Any]) -> export.Exported:
    """Exports the prediction for any number of clips.

    The program takes ({path: parameter}, {name: array [B, ...]}) with the names of `input_names`. B is symbolic, all
    other sizes are fixed. It gives `intensities` [B, K] in the units of the labels, `weights`, `share` and
    `reliability` [B, 3] of the modalities, and `informed` bool [B], as `Intensity.forward` does.

    Args:
        experiment: a run of stage 2 with XLA's attention, which all platforms have.
        params: its parameters, or their shapes.
    """
    experiment = standardised(experiment)
    forward, padding = of_members(experiment, "forward"), experiment.transform.padding
    low, high = experiment.dataset.label_range

    def predict(weights: Arrays, inputs: Arrays) -> dict[str, jax.Array]:
        outputs = forward(traverse_util.unflatten_dict(dict(weights), sep="/"), _batch(inputs, padding))
        others = {name: outputs[name] for name in ("weights", "share", "reliability", "informed")}
        return {"intensities": low + (high - low) * outputs["predictions"], **others}

    (B,) = export.symbolic_shape("B")
    names = [name for parts in input_names(experiment.transform).values() for name in parts]
    inputs = {name: jax.ShapeDtypeStruct((B, *padding[name].shape), padding[name].dtype) for name in names}
    flat = traverse_util.flatten_dict(dict(params), sep="/")
    weights = {path: jax.ShapeDtypeStruct(np.shape(array), array.dtype) for path, array in flat.items()}
    return export.export(jax.jit(predict), platforms=PLATFORMS)(weights, inputs)


def _batch(inputs: Arrays, padding: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """A batch as `ClipTransform` makes it of unaugmented clips, as far as prediction reads it."""
    clips = next(iter(inputs.values())).shape[0]
    batch = {name: inputs[DERIVED.sub("mask", name)] for name in padding if DERIVED.search(name)} | dict(inputs)
    masks = [inputs.get(f"{name}/mask", inputs.get(RAW_PARTS[name][1])) for name in MODALITIES]
    absent = jnp.zeros(clips, bool)
    batch["present"] = jnp.stack([absent if mask is None else mask.any(axis=1) for mask in masks], axis=1)
    batch["valid"] = jnp.ones(clips, bool)
    batch |= {"audio_start": jnp.zeros(clips), "audio_tempo": jnp.ones(clips)}
    return batch
