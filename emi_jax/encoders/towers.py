"""The tower around an encoder: how its inputs are prepared, what is read out of it, and its updates of low rank."""

from collections.abc import Mapping
from typing import Any

from emi_jax.encoders.preprocessing import SPECTROGRAMS
from emi_jax.errors import UserError
from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.models.lora import Lora
from emi_jax.models.pooling import ATTENTION, CLASS, MEAN, POOLINGS
from emi_jax.models.readout import LAST, parse_layers
from emi_jax.models.towers import AudioTower, TextTower, VisionTower

HALF = (0.5, 0.5, 0.5)
"""Mean and standard deviation of pixels for a vision encoder from scratch."""


def build_tower(
    modality: str, encoder: Any, facts: Mapping[str, Any], section: Mapping[str, Any]
) -> VisionTower | AudioTower | TextTower:
    """The tower around an encoder.

    Args:
        modality: the modality.
        encoder: its encoder.
        facts: how its inputs are prepared, as the encoder's folder says; empty for one from scratch.
        section: the config's section of the encoder, with `layers` and possibly `pooling`.

    Raises:
        UserError: `layers` or `pooling` has no such value.
    """
    reading = _reading(modality, section)
    if modality == VISION:
        mean, std = (tuple(facts.get(name, HALF)) for name in ("image_mean", "image_std"))
        return VisionTower(encoder, mean, std, **reading)
    if modality == AUDIO:
        normalize = facts.get("normalize", encoder.config.model_type not in SPECTROGRAMS)
        return AudioTower(encoder, normalize, **reading)
    return TextTower(encoder, **reading)


def build_lora(section: Mapping[str, Any]) -> Lora | None:
    """The updates of low rank that a config describes; None if it names no target."""
    if not section["targets"]:
        return None
    return Lora(tuple(section["targets"]), section["rank"], section["alpha"], section["dropout"])


def _reading(modality: str, section: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a tower that say what is read out of its encoder."""
    try:
        layers = parse_layers(section["layers"])
    except ValueError as error:
        raise UserError(f"config.model.{modality}.{error}") from error
    if "pooling" not in section:  # of audio and text only where their clips become vectors
        return {"layers": layers}
    pooling = section["pooling"]
    known = (MEAN, ATTENTION) if modality == AUDIO else POOLINGS
    if pooling not in known:
        raise UserError(f"config.model.{modality}.pooling={pooling!r}: choose one of {', '.join(known)}")
    if modality == TEXT and pooling == CLASS and layers != LAST:
        raise UserError(
            f"config.model.text.pooling={CLASS} is of the encoder's last layer, and config.model.text.layers="
            f"{section['layers']}: use {MEAN} or {ATTENTION}"
        )
    return {"layers": layers, "pooling": pooling}
