"""Overrides of an encoder's config: any field from scratch; of a loaded encoder those that fit its weights."""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

from emi_jax.errors import UserError

BEHAVIOUR = frozenset(
    {
        "dropout",
        "embedding_dropout",
        "mlp_dropout",
        "hidden_dropout",
        "hidden_dropout_prob",
        "attention_dropout",
        "attention_probs_dropout_prob",
        "activation_dropout",
        "feat_proj_dropout",
        "final_dropout",
        "encoder_layerdrop",
        "conformer_conv_dropout",
        "layerdrop",
        "drop_path_rate",
        "apply_spec_augment",
        "mask_time_prob",
        "mask_time_length",
        "mask_time_min_masks",
        "mask_feature_prob",
        "mask_feature_length",
        "mask_feature_min_masks",
    }
)
"""Dropout and masking, as Hugging Face names them: fields that change how an encoder is trained, not its weights."""
READOUT: dict[str, Callable[[Any], bool]] = {
    "emotion_dimensions": lambda value: value == 0,
    "chunk_length": lambda value: True,
}
"""Fields that change what is computed with the same weights, and which values a loaded encoder can take."""

log = logging.getLogger(__name__)


class OverrideError(UserError):
    """A field that cannot be overridden."""


def override(encoder: Any, fields: Mapping[str, Any], origin: object) -> Any:
    """Replaces fields of a loaded encoder: dropout, masking and what is read out; each change is logged.

    Args:
        encoder: one of `build_encoder`'s.
        fields: of its config; one that equals the loaded value changes nothing.
        origin: what was loaded, for messages.

    Raises:
        OverrideError: the encoder has no such field, or the field describes the loaded weights and differs.
    """
    config = encoder.config
    check_known(config, fields, origin)
    changes = {}
    for name, value in fields.items():
        value = tuple(value) if isinstance(value, list | tuple) else value
        loaded = getattr(config, name)
        if value == loaded:
            continue
        if name not in BEHAVIOUR and not (name in READOUT and READOUT[name](value)):
            raise OverrideError(
                f"{origin}: {name} is {loaded!r} in the loaded encoder and cannot become {value!r}: only dropout, "
                "masking and what is read out can be overridden "
                f"({', '.join(sorted((BEHAVIOUR | READOUT.keys()) & _names(config)))})"
            )
        changes[name] = value
        log.info("%s: %s %r, overridden with %r", origin, name, loaded, value)
    try:
        return encoder.clone(config=dataclasses.replace(config, **changes)) if changes else encoder
    except ValueError as error:
        raise OverrideError(f"{origin}: {error}") from error


def check_known(config: Any, fields: Mapping[str, Any], origin: object) -> None:
    """Checks field names against those of an encoder's config.

    Raises:
        OverrideError: the encoder has no field of that name.
    """
    if unknown := sorted(set(fields) - _names(config)):
        known = ", ".join(sorted(_names(config)))
        raise OverrideError(f"{origin}: a {config.model_type} encoder has no field {unknown[0]}; it has {known}")


def _names(config: Any) -> set[str]:
    return {"model_type", *(field.name for field in dataclasses.fields(config))}
