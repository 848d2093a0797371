"""Configs of stage 2 that are made from a study's config by changing some fields."""

from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from emi_jax.errors import UserError

SECTIONS = ("augment", "data", "features", "init_from", "loss", "model", "train")
"""The parts of a config of stage 2 that determine the result of a run."""


def check_effect(config: ConfigDict, paths: Iterable[str], name: str) -> None:
    """Refuses fields that a variant may not change, since they have no effect on the result of a run.

    Args:
        config: of a study.
        paths: the fields.
        name: of the variant, for messages.

    Raises:
        UserError: a field has no effect, or is a seed.
    """
    for path in paths:
        if path == "train.seed":
            raise UserError(f"{name}: config.{path} cannot be changed: for seeds there is the study's own field seeds")
        if path in config.bindings.free and path != "train.select":
            raise UserError(f"{name}: config.{path} has no effect on the result of a run")


def changed(config: ConfigDict, changes: Iterable[tuple[str, Any]], without: Iterable[str], name: str) -> ConfigDict:
    """A copy of a config with some fields changed.

    Args:
        config: of a study.
        changes: (field, value) in order; a field is a dotted path.
        without: sections and fields that the copy lacks: those of the study.
        name: of the variant, for messages.

    Raises:
        UserError: there is no such field, or its type is another one.
    """
    own = config.copy_and_resolve_references()
    with own.unlocked():
        for part in without:
            del own[part]
    for path, value in changes:
        *parents, leaf = path.split(".")
        section: Any = own
        for parent in parents:
            section = section[parent] if isinstance(section, ConfigDict) and parent in section else None
        if not isinstance(section, ConfigDict) or leaf not in section or isinstance(section[leaf], ConfigDict):
            raise UserError(f"{name}: there is no field config.{path}")
        try:
            if value is None and section[leaf] is not None:
                raise TypeError
            section[leaf] = value
        except TypeError as error:
            raise UserError(
                f"{name}: config.{path}={value!r} should be of the type of {section[leaf]!r}, its value now"
            ) from error
    return own
