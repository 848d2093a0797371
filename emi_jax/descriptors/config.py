"""What the configs of the descriptors share: reading them from JSON and checking their fields."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, ClassVar, Self


@dataclasses.dataclass(frozen=True)
class DescriptorsConfig:
    """Base of the configs. Their fields are ints, floats, strings, booleans and tuples of these."""

    model_type: ClassVar[str]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads the dict of a config.json: any of the fields, and optionally `model_type`.

        Raises:
            ValueError: an unknown field, another model_type, or an invalid value.
        """
        fields = {name: value for name, value in values.items() if name != "model_type"}
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(fields.keys() - set(known)):
            raise ValueError(f"{cls.model_type} config has no field {unknown[0]}; it has {', '.join(known)}")
        if (found := values.get("model_type", cls.model_type)) != cls.model_type:
            raise ValueError(f"model_type = {found!r}: expected {cls.model_type!r}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self)).items():
            if typing.get_origin(hint) is not ClassVar:
                self.require(name, _is_a(getattr(self, name), hint), str(getattr(hint, "__name__", hint)))

    def require(self, name: str, condition: bool, expected: str) -> None:
        """Raises a ValueError that names the field, its value and what was expected, unless the condition holds."""
        if not condition:
            raise ValueError(f"{self.model_type} config: {name} = {getattr(self, name)!r}; expected {expected}")


def _is_a(value: object, hint: Any) -> bool:
    """Whether a value is of an annotated type; an int is a float, a bool is not an int."""
    if typing.get_origin(hint) is tuple:
        parts = typing.get_args(hint)
        if not isinstance(value, tuple):
            return False
        parts = parts[:1] * len(value) if parts[-1] is ... else parts
        return len(value) == len(parts) and all(map(_is_a, value, parts))
    if isinstance(value, bool) or hint is bool:
        return isinstance(value, bool) and hint is bool
    return isinstance(value, (int, float) if hint is float else hint)
