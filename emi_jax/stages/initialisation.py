"""Parameters of the towers and of their readouts before the first step."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from emi_jax.modalities import MODALITIES
from emi_jax.models.lora import factors_of
from emi_jax.models.readout import readouts_of
from emi_jax.models.towers import Towers
from emi_jax.train.parameters import merge
from emi_jax.train.step import Batch


def init_towers(
    towers: Towers, rng: jax.Array, example: Batch, loaded: Mapping[str, dict], modalities: Sequence[str]
) -> dict:
    """The parameters of the towers: from `loaded` where it has them, otherwise drawn at random; LoRA's always so.

    Args:
        towers: the encoders.
        rng: each modality uses a separate key, so that leaving one out does not change the others.
        example: a batch of any size, for its shapes.
        loaded: parameters by modality.
        modalities: the modalities in use.
    """

    def params(modality: str) -> dict:
        key = jax.random.fold_in(rng, MODALITIES.index(modality))
        if modality not in loaded:
            return _draw(towers, modality, False, key, example)
        if towers.lora:
            return merge(loaded[modality], _draw(towers, modality, True, key, example))
        return loaded[modality]

    return {modality: params(modality) for modality in modalities}


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _draw(towers: Towers, modality: str, only_factors: bool, key: jax.Array, example: Batch) -> dict:
    """The random parameters of a tower, or LoRA's alone; traced once for each tower and shape."""
    tower = towers.init(key, example, modalities=(modality,))["params"][modality]
    return factors_of(tower) if only_factors else tower


def init_readouts(towers: Towers, params: dict, example: Batch, modalities: Sequence[str], method: str) -> dict:
    """The parameters of the towers' readouts, under `readouts`; an empty dict if no tower needs one.

    They do not depend on a seed: at the start all layers and all steps count alike.

    Args:
        towers: the encoders.
        params: their parameters.
        example: a batch of any size, for its shapes.
        modalities: the modalities in use.
        method: of `Readouts`, for which the parameters are needed.
    """
    readouts = readouts_of(towers)
    if not (names := [name for name in modalities if name in readouts.names]):
        return {}
    shapes: Any = jax.eval_shape(lambda: towers.apply({"params": params}, example, True, names))
    zeros = {name: jnp.zeros(states.shape) for name, (states, _, _) in shapes.items()}
    masks = {name: jnp.ones(mask.shape, bool) for name, (_, _, mask) in shapes.items()}
    inputs = zeros if method == "steps" else {name: (zeros[name], masks[name]) for name in names}
    return {"readouts": readouts.init(jax.random.key(0), inputs, method=method)["params"]}
