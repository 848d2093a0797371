"""Our parameters as Hugging Face tensors: shapes, layouts, and the check that a checkpoint holds exactly these."""

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from emi_jax.encoders.folder import tensor_shapes
from emi_jax.encoders.names import FAMILIES, LEAVES, OLDER_ENDINGS, OPTIONAL, Family, windows
from emi_jax.encoders.registry import ENCODERS
from emi_jax.errors import UserError
from emi_jax.modalities import AUDIO, VISION
from emi_jax.models.audio.speech_features import receptive_field
from emi_jax.models.vision.vit import height_width

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One of our parameters as a Hugging Face tensor: a kernel has its axes reversed there.

    Attributes:
        name: theirs, without the prefix of a class with a head.
        shape: theirs.
        window: for a kernel the spatial sizes, () for a linear layer; None for anything else.
        ours: our shape.
    """

    name: str
    shape: Shape
    window: Shape | None
    ours: Shape

    def read(self, tensor: np.ndarray) -> np.ndarray:
        """From their layout `[out, in, *window]` to ours `[window * in, out]`."""
        if self.window is None:
            return tensor.reshape(self.ours)
        return np.ascontiguousarray(tensor.transpose(*range(2, tensor.ndim), 1, 0)).reshape(self.ours)

    def write(self, param: np.ndarray) -> np.ndarray:
        """From our layout to theirs."""
        if self.window is None:
            return param.reshape(self.shape)
        turned = param.reshape(*self.window, *self.shape[1::-1])
        return np.ascontiguousarray(turned.transpose(turned.ndim - 1, turned.ndim - 2, *range(turned.ndim - 2)))


def describe(encoder: Any) -> dict[str, Tensor]:
    """Each parameter of an encoder, by its path `a/b/c`, as a Hugging Face tensor."""
    config = encoder.config
    modality, *_ = ENCODERS[config.model_type]
    if modality == VISION:
        example = jax.ShapeDtypeStruct((1, *height_width(config.image_size), 3), jnp.float32)
    elif modality == AUDIO:
        example = jax.ShapeDtypeStruct((1, receptive_field(config)[0]), jnp.float32)
    else:
        example = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), example)["params"]
    family, spatial = FAMILIES[config.model_type], windows(config)
    return {
        path: _describe(path, leaf.shape, config, family, spatial)
        for path, leaf in flax.traverse_util.flatten_dict(shapes, sep="/").items()
    }


def _describe(path: str, ours: Shape, config: Any, family: Family, spatial: Mapping[str, Shape]) -> Tensor:
    module, _, leaf = path.rpartition("/")
    shape, window = ours, None
    if path in family.tensors:
        name = family.tensors[path]
        if leaf == "direction":  # [window, in, out]
            shape, window = ours[::-1], ours[:1]
        elif leaf == "magnitude":
            shape = (1, 1, *ours)
        elif config.model_type == "clip_vision_model":  # theirs have no batch axis
            shape = ours[2:] if leaf == "class_token" else ours[1:]
    else:
        numbers = re.findall(r"_(\d+)", module)
        name = family.modules[re.sub(r"_\d+", "_{}", module)].format(*numbers) + "." + LEAVES[leaf]
        if leaf == "kernel":
            window = spatial.get(module, ())
            shape = (ours[1], ours[0] // math.prod(window), *window)
    return Tensor(name, shape, window, ours)


def match(root: Path, family: Family, expected: Mapping[str, Tensor], files: Mapping[str, Path]) -> dict[str, str]:
    """Finds the file's name for each of our parameters.

    Args:
        root: the folder, for messages.
        family: the names.
        expected: our parameters, from `describe`.
        files: the names in the checkpoint and their files.

    Returns:
        Our path -> the name in the checkpoint.

    Raises:
        UserError: tensors that are missing, unexpected or misshapen, all of them named.
    """
    ours = {tensor.name: path for path, tensor in expected.items()}
    places: dict[str, str] = {}
    unexpected = []
    for place in files:
        name = place.removeprefix(family.prefix)
        for old, new in OLDER_ENDINGS.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        path = ours.get(name)
        if path is not None and path not in places:
            places[path] = place
        elif name != family.tensors.get(OPTIONAL) and not family.ignores(place):
            unexpected.append(place)
    shapes = tensor_shapes({place: files[place] for place in places.values()})
    problems = [f"missing: {name}" for name, path in ours.items() if path not in places and path != OPTIONAL]
    problems += [f"unexpected: {place}" for place in unexpected]
    problems += [
        f"misshapen: {place} has the shape {shapes[place]}, expected {expected[path].shape}"
        for path, place in places.items()
        if shapes[place] != expected[path].shape
    ]
    if problems:
        listing = "\n  ".join(sorted(problems))
        raise UserError(
            f"{root}: the tensors do not fit the {family.architecture} that config.json describes:\n  {listing}\n"
            "Take the config.json that belongs to the weights, or save both again with save_pretrained"
        )
    return places
