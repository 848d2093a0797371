"""Parameters of the towers before the first step."""

from collections.abc import Mapping, Sequence

import jax

from emi_jax.modalities import MODALITIES
from emi_jax.models.towers import Towers
from emi_jax.train.step import Batch


def init_towers(
    towers: Towers, rng: jax.Array, example: Batch, loaded: Mapping[str, dict], modalities: Sequence[str]
) -> dict:
    """The parameters of the towers: from `loaded` where it has them, otherwise drawn at random.

    Args:
        towers: the encoders.
        rng: each modality uses a separate key, so that leaving one out does not change the others.
        example: a batch of any size, for its shapes.
        loaded: parameters by modality.
        modalities: the modalities in use.
    """

    def draw(modality: str) -> dict:
        key = jax.random.fold_in(rng, MODALITIES.index(modality))
        init = jax.jit(lambda key, batch: towers.init(key, batch, modalities=(modality,))["params"][modality])
        return init(key, example)

    return {modality: loaded[modality] if modality in loaded else draw(modality) for modality in modalities}
