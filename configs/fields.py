"""Fields of a config: each has its default value, its meaning, and what it binds, in one place.

A run is resumed and evaluated under the fields that it was trained with. What a field binds says which of them may
differ; the config carries the answer along (`bindings`), so that a run's folder needs nothing else.
"""

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict


class Binds(enum.Enum):
    """What a field of a run is held against."""

    NOTHING = "may change when a run is resumed: it does not touch the result"
    TRAINING = "decides the result: must be the same when a run is resumed"
    MODEL = "decides how clips are read and modelled: must be the same when a run is resumed, evaluated or predicts"


@dataclasses.dataclass(frozen=True)
class Field:
    """One field, or a whole section that other definitions name.

    Attributes:
        value: the default; a dict makes a section of fields that share the meaning.
        meaning: one line, without its value.
        binds: what it binds.
    """

    value: Any
    meaning: str
    binds: Binds = Binds.TRAINING


@dataclasses.dataclass(frozen=True)
class Unset:
    """No default: None until it is set, and then a value of this type."""

    kind: type


Section = Mapping[str, "Field | Section"]


def build(section: Section) -> ConfigDict:
    """The config of a section's default values, with the `bindings` of its fields.

    `bindings.free` and `bindings.model` name the fields, or sections, of `Binds.NOTHING` and `Binds.MODEL`; all other
    fields are of `Binds.TRAINING`.
    """
    config = ConfigDict(_values(section))
    names = {kind: tuple(sorted(path for path, field in flatten(section) if field.binds is kind)) for kind in Binds}
    config.bindings = {"free": names[Binds.NOTHING], "model": names[Binds.MODEL]}
    return config


def flatten(section: Section, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """Each field with its dotted name."""
    for name, content in section.items():
        if isinstance(content, Field):
            yield prefix + name, content
        else:
            yield from flatten(content, f"{prefix}{name}.")


def _values(content: Any) -> Any:
    if isinstance(content, Field):
        return _values(content.value)
    if isinstance(content, Unset):
        return config_dict.placeholder(content.kind)
    if isinstance(content, Mapping):
        return {name: _values(part) for name, part in content.items()}
    return content
