"""Copies parameters or gradients from our tree to the twin and back. Each parameter needs a counterpart."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from emi_jax.encoders.tensors import describe
from emi_jax.models.towers import Towers

# Name in Hugging Face's files -> name in the class since transformers 5.
RENAMED = (
    ("encoder.layer.", "layers."),
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
)
LSTM = {"input_kernel": "weight_ih_l0", "recurrent_kernel": "weight_hh_l0", "bias": "bias_ih_l0"}
DIRECTIONS = "forward_direction", "backward_direction"
"""Where `PaddedLSTM` stores the parameters."""
NORM = r"(^|[_/])(norm|norm_\d+)$"


@dataclasses.dataclass(frozen=True)
class Place:
    """The counterpart of one of our parameters in the twin.

    Attributes:
        names: names of the twin's parameters; several if ours is a stack of theirs.
        write: converts our array to theirs.
        read: converts theirs to ours.
    """

    names: tuple[str, ...]
    write: Callable[[np.ndarray], list[np.ndarray]]
    read: Callable[[list[np.ndarray]], np.ndarray]


def places(module: nn.Module, flat: Mapping[str, Any], towers: Towers | None = None) -> dict[str, Place]:
    """Finds the counterpart of each of our parameters.

    Args:
        module: the twin, or a part of it.
        flat: our parameters or their shapes by path `a/b/c`.
        towers: ours, if the module has towers.

    Raises:
        ValueError: a parameter has no counterpart on the other side; the message names all of them.
    """
    known = {name for name, _ in module.named_parameters()}
    encoders = {
        f"towers/{modality}/encoder/": describe(getattr(towers, modality).encoder)
        for modality in ("vision", "audio", "text")
        if towers is not None and getattr(towers, modality) is not None
    }
    found = {}
    for path, value in flat.items():
        root = next((root for root in encoders if path.startswith(root)), None)
        if root is not None:
            tensor = encoders[root][path.removeprefix(root)]
            name = _renamed(root.replace("/", ".") + tensor.name, known)
            found[path] = Place((name,), lambda x, t=tensor: [t.write(x)], lambda x, t=tensor: t.read(x[0]))
        else:
            found[path] = _own(path, len(value.shape))
    used = {name for place in found.values() for name in place.names}
    zero = {name for name in known if name.endswith("bias_hh_l0")}
    if problems := sorted((used - known) | (known - used - zero)):
        raise ValueError(f"parameters without a counterpart on the other side: {', '.join(problems)}")
    return found


def load(module: nn.Module, flat: Mapping[str, np.ndarray], towers: Towers | None = None) -> dict[str, str]:
    """Writes our parameters into the twin; returns our path for each of the twin's parameters."""
    parameters, paths = dict(module.named_parameters()), {}
    with torch.no_grad():
        for path, place in places(module, flat, towers).items():
            for name, array in zip(place.names, place.write(np.asarray(flat[path])), strict=True):
                parameters[name].copy_(torch.from_numpy(np.array(array)).reshape(parameters[name].shape))
                paths[name] = path
    return paths


def fetch(
    module: nn.Module,
    like: Mapping[str, Any],
    towers: Towers | None = None,
    what: Callable[[nn.Parameter], torch.Tensor] = lambda parameter: parameter.detach(),
) -> dict[str, np.ndarray]:
    """Reads the twin's parameters, or their gradients, in our layout.

    Args:
        module: the twin, or a part of it.
        like: our parameters or their shapes by path.
        towers: as in `places`.
        what: reads the tensor from a parameter.
    """
    parameters = dict(module.named_parameters())
    return {
        path: place.read([what(parameters[name]).numpy(force=True) for name in place.names])
        for path, place in places(module, like, towers).items()
    }


def _renamed(name: str, known: set[str]) -> str:
    for old, new in RENAMED:
        if name in known:
            break
        name = name.replace(old, new)
    return name


def _own(path: str, ndim: int) -> Place:
    """The place of a parameter of the fusion or of a pair: the same names on both sides, kernels transposed."""
    module, _, leaf = path.rpartition("/")
    prefix = module.replace("/", ".") + "." if module else ""
    if leaf in ("input_kernel", "recurrent_kernel") or (leaf == "bias" and ndim == 2):
        names = tuple(f"{prefix}lstm.{direction}.{LSTM[leaf]}" for direction in DIRECTIONS)
        return Place(names, lambda x: [part.T for part in x], lambda x: np.stack([part.T for part in x]))
    if leaf == "scale" and re.search(NORM, module):
        leaf = "weight"
    elif leaf == "kernel" and not module.endswith("decoder") and module:
        return Place((f"{prefix}weight",), lambda x: [x.T], lambda x: x[0].T)
    return Place((prefix + leaf,), lambda x: [x], lambda x: x[0])
