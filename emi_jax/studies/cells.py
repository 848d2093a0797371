"""The cells of a grid: the config of stage 2 with a few changes each."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.studies.parts import SHARED
from emi_jax.studies.variants import changed, check_effect


@dataclasses.dataclass(frozen=True)
class Cell:
    """One variant of the grid.

    Attributes:
        name: name of its files.
        title: title of its row.
        config: its config of stage 2.
        changed: the fields in which it differs from the grid's config.
    """

    name: str
    title: str
    config: ConfigDict
    changed: tuple[str, ...]


def cells(config: ConfigDict) -> list[Cell]:
    """The cells of a grid: the config with each cell's changes, `((path, value), ...)`.

    `{config.FIELD}` in a string stands for a field of the grid's config. Cells with a modality that the config does not
    use are omitted, as are those that `grid.only` leaves out.

    Raises:
        UserError: a cell cannot be read or changes what does not exist, has another type or has no effect; a name or
            title is there twice; `grid.only` or `grid.reference` names a missing cell; `grid.seeds` are no seeds; no
            cell is left; or the config has no feature cache.
    """
    if not config.features.dir:
        raise UserError("a study reads cached features: name a folder for them with --config.features.dir=FOLDER")
    _check_seeds(config.grid.seeds)
    for entry in config.grid.cells:
        _check_entry(entry)
    known, titles = ([entry[place] for entry in config.grid.cells] for place in (0, 1))
    for what, values in (("name", known), ("title", titles)):
        if twice := [value for value in values if values.count(value) > 1]:
            raise UserError(f"config.grid.cells: two cells have the {what} {twice[0]!r}; each needs its own")
    only = config.grid.only or ()
    if unknown := [name for name in only if name not in known]:
        raise UserError(f"config.grid.only: there is no cell {unknown[0]!r}; there are {', '.join(known)}")
    if config.grid.reference not in known:
        raise UserError(
            f"config.grid.reference: there is no cell {config.grid.reference!r}; there are {', '.join(known) or 'none'}"
        )
    made = [
        Cell(name, title, _changed(config, name, changes), tuple(path for path, _ in changes))
        for name, title, changes in config.grid.cells
        if name in (only or known)
    ]
    used = set(config.model.modalities)
    fit = [cell for cell in made if set(cell.config.model.modalities) <= used]
    if not fit:
        left_out = "; ".join(cell.title for cell in made)
        raise UserError(
            f"no cell is left: {left_out} need more than {', '.join(sorted(used))} (config.model.modalities)"
        )
    return fit


def _check_seeds(seeds: Sequence[Any]) -> None:
    whole = all(isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0 for seed in seeds)
    if not seeds or not whole or len(set(seeds)) < len(seeds):
        raise UserError(f"config.grid.seeds={tuple(seeds)}: expected whole numbers from 0, one or more, each once")


def _check_entry(entry: Any) -> None:
    def is_change(change: Any) -> bool:
        return isinstance(change, tuple) and len(change) == 2 and isinstance(change[0], str)

    expected = isinstance(entry, tuple) and len(entry) == 3 and isinstance(entry[2], tuple)
    if not expected or not all(isinstance(part, str) for part in entry[:2]) or not all(map(is_change, entry[2])):
        raise UserError(
            f"config.grid.cells: found {entry!r}, expected (NAME, TITLE, CHANGES) with CHANGES such as "
            "(('train.epochs', 2),), in which a comma ends the single one"
        )
    if not re.fullmatch(r"\w[\w.-]*", entry[0]):
        raise UserError(f"config.grid.cells: {entry[0]!r} names files: use letters, digits, and . _ - within")


def _changed(config: ConfigDict, name: str, changes: Sequence[tuple[str, Any]]) -> ConfigDict:
    def filled(value: Any) -> Any:
        try:
            return value.format(config=config) if isinstance(value, str) else value
        except (AttributeError, KeyError, IndexError, ValueError) as error:
            raise UserError(f"cell {name!r}: {value!r} names no field of the config, as in {{config.root}}") from error

    what = f"cell {name!r}"
    check_effect(config, [path for path, _ in changes], what)
    return changed(config, [(path, filled(value)) for path, value in changes], [*SHARED, "grid"], what)
