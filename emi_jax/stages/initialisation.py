"""Parameters of the towers before the first step."""

from collections.abc import Mapping, Sequence

import jax
from flax import traverse_util
from jax.typing import DTypeLike

from emi_jax.modalities import MODALITIES
from emi_jax.models.towers import Towers
from emi_jax.train.step import Batch


def init_towers(
    towers: Towers, rng: jax.Array, example: Batch, loaded: Mapping[str, dict], modalities: Sequence[str]
) -> dict:
    """The parameters of towers: those that were loaded, the others drawn.

    Args:
        towers: the encoders.
        rng: each modality draws from a key of its own, so that leaving one out does not change the others.
        example: a batch of any size, for its shapes.
        loaded: parameters by modality.
        modalities: those in use.
    """

    def draw(modality: str) -> dict:
        key = jax.random.fold_in(rng, MODALITIES.index(modality))
        init = jax.jit(lambda key, batch: towers.init(key, batch, modalities=(modality,))["params"][modality])
        return init(key, example)

    return {modality: loaded[modality] if modality in loaded else draw(modality) for modality in modalities}


def round_kernels(params: dict, dtype: DTypeLike) -> dict:
    """Parameters of a frozen tower with kernels as its products take them, so that no step rounds them again.

    A product rounds its kernel to `dtype` in any case (`models/dense.py`): results are the same to the bit.
    """
    flat = traverse_util.flatten_dict(params)
    rounded = {path: value.astype(dtype) if path[-1] == "kernel" else value for path, value in flat.items()}
    return traverse_util.unflatten_dict(rounded)
