"""Fields of a config: the default value, the meaning, and whether the field may change after training has started.

A run is resumed and evaluated with the config that it was trained with, except for fields that do not affect the
result. The `Effect` of a field says so. A config lists such fields in its section `bindings`, and
`emi_jax/runs/workdir.py` checks them.
"""

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict


class Effect(enum.Enum):
    """What a field affects, and so when it must equal the value that a run was started with."""

    PLACE = "names a folder: may be another one with the same content when a run is resumed"
    NOTHING = "may change when a run is resumed: does not affect the result"
    TRAINING = "decides the result: must be the same when a run is resumed"
    MODEL = "decides how clips are read and modelled: must be the same when a run is resumed, evaluated or predicts"


@dataclasses.dataclass(frozen=True)
class Field:
    """One field, or a section whose fields are defined elsewhere.

    Attributes:
        value: the default; a dict makes a section of fields with a common meaning.
        meaning: one line, without its value.
        effect: what it affects: whether it may change after training has started.
    """

    value: Any
    meaning: str
    effect: Effect = Effect.TRAINING


@dataclasses.dataclass(frozen=True)
class Unset:
    """No default: None until it is set, and then a value of this type."""

    kind: type


Section = Mapping[str, "Field | Section"]


def build(section: Section) -> ConfigDict:
    """Builds a config from a section's default values, with the `bindings` of its fields.

    `bindings.free` lists the fields or sections with `Effect.NOTHING`, `bindings.places` those with
    `Effect.PLACE`, `bindings.model` those with `Effect.MODEL`; all other fields have `Effect.TRAINING`.
    """
    config = ConfigDict(_values(section))
    names = {kind: tuple(sorted(path for path, field in flatten(section) if field.effect is kind)) for kind in Effect}
    config.bindings = {
        "free": names[Effect.NOTHING],
        "places": names[Effect.PLACE],
        "model": names[Effect.MODEL],
    }
    return config


def flatten(section: Section, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Each field with its dotted name."""
    for name, content in section.items():
        if isinstance(content, Field):
            yield prefix + name, content
        else:
            yield from flatten(content, f"{prefix}{name}.")


def value_at(config: ConfigDict, path: str) -> Any:
    """The value of a field of a config by its dotted name; of a section, a dict."""
    value: Any = config
    for part in path.split("."):
        value = value[part]
    return value.to_dict() if isinstance(value, ConfigDict) else value


def _values(content: Any) -> Any:
    if isinstance(content, Field):
        return _values(content.value)
    if isinstance(content, Unset):
        return config_dict.placeholder(content.kind)
    if isinstance(content, Mapping):
        return {name: _values(part) for name, part in content.items()}
    return content
