"""All parameters of a run in one safetensors file, which an exported model holds in place of checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from flax import traverse_util
from safetensors import SafetensorError
from safetensors.numpy import load_file

from emi_jax.errors import UserError
from emi_jax.files import whole_file, write_tensors

FILE = "model.safetensors"


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model, in place of a run with checkpoints."""
    return (folder / FILE).is_file()


def save(folder: Path, params: Mapping[str, Any]) -> None:
    """Writes a tree of parameters, complete or not at all; a tensor's name is its path, joined by slashes."""
    flat = traverse_util.flatten_dict(jax.device_get(params), sep="/")
    with whole_file(folder / FILE) as partial:
        write_tensors(partial, flat)


def load(folder: Path, shapes: Any) -> dict:
    """Reads what `save` wrote.

    Args:
        folder: of the exported model.
        shapes: the parameters of its model, as arrays or shapes.

    Raises:
        UserError: the file is damaged, or its tensors are not those of the model.
    """
    path = folder / FILE
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read ({error}): copy it again") from error
    expected = traverse_util.flatten_dict(shapes, sep="/")
    for name in sorted(tensors.keys() | expected.keys()):
        found, wanted = (_layout(arrays.get(name)) for arrays in (tensors, expected))
        if found != wanted:
            raise UserError(
                f"{path}: {name} is {found}, but {wanted} in the model that config.json describes: copy both files "
                "again, from the same export"
            )
    return traverse_util.unflatten_dict(tensors, sep="/")


def _layout(array: Any) -> str:
    return "absent" if array is None else f"{array.dtype} {tuple(array.shape)}"
