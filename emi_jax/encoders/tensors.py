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
from emi_jax.encoders.names import LEAVES, OLDER_ENDINGS, OPTIONAL, Family, family_of, windows
from emi_jax.encoders.registry import ENCODERS
from emi_jax.errors import UserError
from emi_jax.modalities import AUDIO, VISION
from emi_jax.models.vision.patches import height_width

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One of our parameters as a Hugging Face tensor, or as some of its rows: a kernel has its axes reversed there.

    Attributes:
        name: theirs, without the prefix of a class with a head; parameters that share it are its rows.
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


def describe(encoder: Any, family: Family | None = None) -> dict[str, Tensor]:
    """Each parameter of an encoder, by its path `a/b/c`, as a Hugging Face tensor; rows of one tensor in order.

    The names are those of the family; None = the one in which the encoder is saved.
    """
    config = encoder.config
    family = family or family_of(config)
    modality, *_ = ENCODERS[config.model_type]
    if modality == VISION:
        example = jax.ShapeDtypeStruct((1, *height_width(config.image_size), 3), jnp.float32)
    elif modality == AUDIO:
        example = jax.ShapeDtypeStruct((1, config.steps.min_samples), jnp.float32)
    else:
        example = jax.ShapeDtypeStruct((1, 1), jnp.int32)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), example)["params"]
    spatial = windows(config)
    described = {
        path: _describe(path, leaf.shape, family, spatial)
        for path, leaf in flax.traverse_util.flatten_dict(shapes, sep="/").items()
    }
    order = [*family.tensors, *family.modules]
    return dict(sorted(described.items(), key=lambda item: order.index(_known_as(item[0], family))))


def _known_as(path: str, family: Family) -> str:
    """The entry of the family's tables that names a parameter."""
    pattern = re.sub(r"_\d+", "_{}", path)
    return pattern if pattern in family.tensors else pattern.rpartition("/")[0]


def _describe(path: str, ours: Shape, family: Family, spatial: Mapping[str, Shape]) -> Tensor:
    module, _, leaf = path.rpartition("/")
    shape, window = ours[family.dropped_axes.get(path, 0) :], None
    entry, numbers = _known_as(path, family), re.findall(r"_(\d+)", path)
    if entry in family.tensors:
        name = family.tensors[entry].format(*numbers)
    else:
        name = family.modules[entry].format(*numbers) + "." + LEAVES[leaf]
    if leaf == "kernel" and len(ours) == 2:
        window = spatial.get(module, ())
        shape = (ours[1], ours[0] // math.prod(window), *window)
    elif leaf in ("kernel", "direction"):  # of a grouped convolution: [window, in, out]
        shape, window = ours[::-1], ours[:1]
    elif leaf == "magnitude":
        shape = (1, 1, *ours)
    return Tensor(name, shape, window, ours)


def by_name(expected: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """The name of each Hugging Face tensor and the paths of the parameters that are its rows, in their order."""
    paths: dict[str, list[str]] = {}
    for path, tensor in expected.items():
        paths.setdefault(tensor.name, []).append(path)
    return paths


def read(expected: Mapping[str, Tensor], tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Our parameters, by path, from Hugging Face tensors, by name."""
    params = {}
    for name, paths in by_name(expected).items():
        start = 0
        for path in paths if name in tensors else ():
            end = start + expected[path].shape[0]
            params[path] = expected[path].read(tensors[name][start:end])
            start = end
    return params


def write(expected: Mapping[str, Tensor], params: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Hugging Face tensors, by name, from our parameters, by path."""
    return {
        name: np.concatenate([expected[path].write(np.asarray(params[path], np.float32)) for path in paths])
        for name, paths in by_name(expected).items()
    }


def match(root: Path, family: Family, expected: Mapping[str, Tensor], files: Mapping[str, Path]) -> dict[str, str]:
    """Finds the checkpoint's name of each tensor that the encoder needs.

    Args:
        root: the folder, for messages.
        family: the names.
        expected: our parameters, from `describe`.
        files: the names in the checkpoint and their files.

    Returns:
        The name of `Tensor` -> the name in the checkpoint.

    Raises:
        UserError: tensors that are missing, unexpected or misshapen, all of them named.
    """
    needed = by_name(expected)
    places: dict[str, str] = {}
    unexpected = []
    for place in files:
        name = place.removeprefix(family.prefix)
        for old, new in OLDER_ENDINGS.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
        if name in needed and name not in places:
            places[name] = place
        elif name != family.tensors.get(OPTIONAL) and not family.ignores(place):
            unexpected.append(place)
    shapes = tensor_shapes({place: files[place] for place in places.values()})
    problems = [f"missing: {name}" for name in needed if name not in places and needed[name] != [OPTIONAL]]
    problems += [f"unexpected: {place}" for place in unexpected]
    for name, place in places.items():
        rows = [expected[path].shape for path in needed[name]]
        shape = (sum(count for count, *_ in rows), *rows[0][1:])
        if shapes[place] != shape:
            problems.append(f"misshapen: {place} has the shape {shapes[place]}, expected {shape}")
    if problems:
        listing = "\n  ".join(sorted(problems))
        raise UserError(
            f"{root}: the tensors do not fit the {family.architecture} that config.json describes:\n  {listing}\n"
            "Take the config.json that belongs to the weights, or save both again with save_pretrained"
        )
    return places
