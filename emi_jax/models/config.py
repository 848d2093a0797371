"""Reads an encoder's dataclass config from the dict of a Hugging Face config.json."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Config = TypeVar("Config")


def read_config(kind: type[Config], config: Mapping[str, Any], supported: Mapping[str, Iterable[Any]]) -> Config:
    """Makes a dataclass of the fields that it names; the many others of a Hugging Face config are ignored.

    Args:
        kind: the dataclass.
        config: the dict of a config.json.
        supported: for some fields, whether in `kind` or not, the values that the model supports.

    Raises:
        ValueError: a field holds an unsupported value.
    """
    for name, allowed in supported.items():
        if name in config and config[name] not in (choices := tuple(allowed)):
            kind_name = config.get("model_type", kind.__name__)
            raise ValueError(f"{kind_name} config: {name} = {config[name]!r} is not supported; choose one of {choices}")
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _frozen(value) for name, value in config.items() if name in known})


def _frozen(value: Any) -> Any:
    """Lists as tuples: a module's fields must be hashable."""
    return tuple(value) if isinstance(value, list | tuple) else value
