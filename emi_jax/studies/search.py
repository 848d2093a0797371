"""The settings of a sweep: every combination of listed values, or random draws from lists and ranges."""

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.studies.parts import SHARED
from emi_jax.studies.variants import SECTIONS, changed, check_effect

VALUES, UNIFORM, LOG = KINDS = ("values", "uniform", "log")
"""A list of values; a range of numbers, drawn evenly; a positive range, drawn evenly in the logarithm."""
OWN = (*SHARED, "sweep")
"""The parts of a sweep's config that its runs lack."""
DIGITS = 3
"""Significant digits of numbers drawn from a range."""
DRAWS = 100
"""Draws in search of one setting that was not drawn before, until the search counts as exhausted."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One point of the search.

    Attributes:
        values: of all searched fields.
        changes: those that differ from the config's own.
    """

    values: Mapping[str, Any]
    changes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """`base` for the config's own values, otherwise a hash of the changes: a larger search keeps the names."""
        if not self.changes:
            return "base"
        return hashlib.sha256(json.dumps(self.changes, sort_keys=True).encode()).hexdigest()[:8]


@dataclasses.dataclass(frozen=True)
class Searched:
    """A searched field: its path, and the list of values, or the ends of a range."""

    path: str
    kind: str
    values: Sequence[Any]

    def draw(self, rng: np.random.Generator, whole: bool) -> Any:
        """A random value; from a range an integer if `whole`."""
        if self.kind == VALUES:
            return self.values[int(rng.integers(len(self.values)))]
        value = math.exp(rng.uniform(*np.log(self.values))) if self.kind == LOG else rng.uniform(*self.values)
        return round(value) if whole else float(f"{value:.{DIGITS}g}")


def settings(config: ConfigDict) -> list[Setting]:
    """The config's own setting, then every other of the grid, or as many random ones as the config says.

    With more samples and the same seed, the first ones stay the same.

    Raises:
        UserError: `sweep.fields` names no fields of the config or cannot be read, or there are fewer settings than
            samples.
    """
    fields, options = _fields(config), config.sweep
    own = {field.path: _value(config, field.path) for field in fields}
    found = {_key(own): Setting(own, {})}

    def add(values: Sequence[Any]) -> bool:
        variant = _variant(config, dict(zip(own, values, strict=True)))
        read = {path: _value(variant, path) for path in own}
        setting = Setting(read, {path: value for path, value in read.items() if value != own[path]})
        return found.setdefault(_key(read), setting) is setting

    if options.samples < 0 or options.seed < 0:
        raise UserError(
            f"config.sweep: samples={options.samples}, seed={options.seed}: expected a number of settings, or 0 for a "
            "grid, and a seed from 0"
        )
    if not options.samples:
        if ranges := [field.path for field in fields if field.kind != VALUES]:
            raise UserError(
                f"config.sweep.fields: {ranges[0]} has a range, and a grid needs values: list them, or draw settings "
                "at random with --config.sweep.samples=20"
            )
        for values in itertools.product(*(field.values for field in fields)):
            add(values)
        return list(found.values())
    rng = np.random.default_rng(options.seed)
    for _ in range(options.samples):
        draws = ([field.draw(rng, isinstance(own[field.path], int)) for field in fields] for _ in range(DRAWS))
        if not any(add(values) for values in draws):
            raise UserError(
                f"config.sweep.samples={options.samples}: only {len(found) - 1} settings besides the config's own were "
                "found; draw fewer, or use --config.sweep.samples=0 for every combination of values"
            )
    return list(found.values())


def _fields(config: ConfigDict) -> list[Searched]:
    """The searched fields.

    Raises:
        UserError: there are none, one is given twice, or one cannot be searched.
    """
    fields = []
    for entry in config.sweep.fields:
        if not isinstance(entry, tuple) or len(entry) != 3 or not isinstance(entry[2], tuple) or entry[1] not in KINDS:
            raise UserError(
                f"config.sweep.fields: found {entry!r}, expected (FIELD, KIND, (VALUE, ...)) with a kind of "
                f"{', '.join(KINDS)}"
            )
        path, kind, values = entry
        if not isinstance(path, str) or path.partition(".")[0] not in SECTIONS:
            raise UserError(f"config.sweep.fields: {path} cannot be searched: it is no field of a run of stage 2")
        check_effect(config, [path], "config.sweep.fields")
        if kind != VALUES:
            _check_range(path, kind, values, _value(config, path))
        elif not values:
            raise UserError(f"config.sweep.fields: {path} has no values")
        fields.append(Searched(*entry))
    paths = [field.path for field in fields]
    if not paths or len(set(paths)) < len(paths):
        raise UserError(f"config.sweep.fields names {paths}: expected one field or more, each once")
    return fields


def _check_range(path: str, kind: str, ends: Sequence[Any], own: Any) -> None:
    known = ends if own is None else (*ends, own)
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    if not numbers or len(ends) != 2 or not ends[0] < ends[1] or (kind == LOG and ends[0] <= 0):
        raise UserError(
            f"config.sweep.fields: {path} has {kind} {tuple(ends)!r}; expected the ends of a range of numbers, the "
            "lower one first, and for log above 0"
        )


def _variant(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
    return changed(config, values.items(), OWN, "config.sweep.fields")


def _value(config: ConfigDict, path: str) -> Any:
    """The value of a field.

    Raises:
        UserError: there is no such field.
    """
    section: Any = config
    for part in path.split("."):
        if not isinstance(section, ConfigDict) or part not in section:
            raise UserError(f"config.sweep.fields: there is no field config.{path}")
        section = section[part]
    if isinstance(section, ConfigDict):
        raise UserError(f"config.sweep.fields: config.{path} is a section; name a field in it")
    return section


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps(values)
