"""The name of each parameter in a Hugging Face checkpoint, and the tensors in such a checkpoint that are ignored."""

from collections.abc import Iterable
from typing import Any

from emi_jax.encoders.names.audio import AUDIO_FAMILIES
from emi_jax.encoders.names.family import Family
from emi_jax.encoders.names.text import TEXT_FAMILIES
from emi_jax.encoders.names.vision import VISION_FAMILIES
from emi_jax.models.vision.patches import height_width

_FAMILIES: dict[str, Family] = VISION_FAMILIES | TEXT_FAMILIES | AUDIO_FAMILIES

OPTIONAL = "masked_spec_embed"
"""Only training with SpecAugment reads it; checkpoints made without it lack it."""

LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight", "bias": "bias", "layer_scale": "lambda1"}

# Older names of the same tensors: by the end of the name, to the end that is used now.
OLDER_ENDINGS = {
    ".LayerNorm.gamma": ".LayerNorm.weight",
    ".LayerNorm.beta": ".LayerNorm.bias",
    ".conv.weight_g": ".conv.parametrizations.weight.original0",
    ".conv.weight_v": ".conv.parametrizations.weight.original1",
}


def family_of(config: Any, names: Iterable[str] = ()) -> Family:
    """The names of the tensors of an encoder with this config.

    Args:
        config: the encoder's.
        names: those of a checkpoint, which may be in an alternative spelling; () = for writing one.
    """
    gated = getattr(config, "use_swiglu_ffn", False)
    family = _FAMILIES[f"{config.model_type}, gated" if gated else config.model_type]
    names = list(names)
    return max((family, *family.alternatives), key=lambda candidate: sum(map(candidate.names, names)))


def windows(config: Any) -> dict[str, tuple[int, ...]]:
    """The spatial sizes of the kernels that are convolutions in Hugging Face's models, by our module."""
    if hasattr(config, "patch_size"):
        return {"embedding/projection": height_width(config.patch_size)}
    if hasattr(config, "conv_kernel"):
        return {f"features/conv_{index}": (width,) for index, width in enumerate(config.conv_kernel)}
    if config.model_type == "whisper":
        return {"features/conv_1": (3,), "features/conv_2": (3,)}
    if config.model_type == "wav2vec2-bert":
        layers = (f"transformer/layers_{index}/convolution" for index in range(config.num_hidden_layers))
        return {f"{layer}/{name}": (1,) for layer in layers for name in ("expand", "project")}
    return {}
