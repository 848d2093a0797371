"""The heads of stage 2 by name, behind one interface: the fusion of the paper and those of other challenge entries."""

import dataclasses
import difflib
from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from emi_jax.models.concatenation import Concatenation
from emi_jax.models.fusion import Fusion
from emi_jax.models.text_anchored import TextAnchored


class Head(Protocol):
    """A Flax module: (features, masks, times, present, deterministic) -> (predictions, extras), as of `Fusion`."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that it reads."""

    def init(self, *args: Any, **kwargs: Any) -> Any:
        """As `flax.linen.Module.init`."""

    def apply(self, *args: Any, **kwargs: Any) -> Any:
        """As `flax.linen.Module.apply`."""


HEADS: dict[str, type[nn.Module]] = {
    "fusion": Fusion,
    "concatenation": Concatenation,
    "text_anchored": TextAnchored,
}


def build_head(name: str, **fields: Any) -> Head:
    """Builds a head by its name in `HEADS`; lists, as JSON has them, become tuples, so that heads can be hashed.

    Raises:
        ValueError: an unknown name, or a field that the head does not have.
    """
    if name not in HEADS:
        raise ValueError(f"there is no head {name!r}: choose one of {tuple(HEADS)}")
    known = {field.name for field in dataclasses.fields(HEADS[name])} - {"parent", "name"}
    for field in fields:
        if field not in known:
            near = difflib.get_close_matches(field, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {sorted(known)}"
            raise ValueError(f"the head {name!r} has no field {field!r}: {hint}")
    return HEADS[name](**{field: tuple(x) if isinstance(x, list) else x for field, x in fields.items()})


def drop_modalities(rng: Array, present: Array, probability: float) -> Array:
    """Hides present modalities at random, but never the last one of a clip.

    Args:
        rng: a PRNG key.
        present: bool [B, M].
        probability: with which each present modality is hidden.

    Returns:
        bool [B, M]; True is present and not hidden. Where all would be hidden, one chosen at random stays.
    """
    draw = jax.random.uniform(rng, present.shape)
    last = jnp.where(present, draw, -1).argmax(-1)
    return present & ((draw >= probability) | (jnp.arange(present.shape[-1])[None, :] == last[:, None]))
