"""Runs a study: as a whole in this process, or in parts as `config.launch` says."""

import dataclasses
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from configs import command_line, effects
from configs.commands.launch import is_asked, launch
from emi_jax.errors import UserError
from emi_jax.inputs.dataset import Dataset
from emi_jax.runs.results import Summary
from emi_jax.studies import ablation, crossval, robustness, sweep
from emi_jax.studies.cells import cells
from emi_jax.studies.parts import Part

log = logging.getLogger("emi_jax")


def run(
    config: ConfigDict, dataset: Dataset, split: str, command: Sequence[str], overridden: Collection[str]
) -> Summary | list[Path] | None:
    """Does a study, a part of it, or starts the processes that do its parts.

    Args:
        config: of the study.
        dataset: the dataset.
        split: the split to score, for the studies that score one.
        command: the command line of this process, which is started again for single parts.
        overridden: the fields that it sets.

    Returns:
        The results, or the files that hold them; None if other processes do the study, or this one did a part.

    Raises:
        UserError: the study cannot be done.
    """
    if config.study == "sweep":
        for each in sweep.runs(config):
            effects.refuse_without_effect(each.config, each.setting.changes)
        effects.refuse_replaced(overridden, {"train.seed"}, "its runs have those of config.sweep.seeds")
    if "grid" in config:
        _check_grid(config, overridden)
    if (path := Path(config.workdir, "config.json")).exists():
        raise UserError(f"{path.parent} holds a run, and a study needs a folder of its own: use another --workdir")
    if not is_asked(config):
        return _whole(config, dataset, split)
    parts = _parts(config, dataset, split)
    if config.launch.index < 0:  # else other processes may be writing to the folders of other parts
        for part in parts:
            part.check()
    launch(config, parts, command)
    return None


def _check_grid(config: ConfigDict, overridden: Collection[str]) -> None:
    """Refuses what has no effect in a grid, and names the cells that are left out.

    Raises:
        UserError: a field of a cell or of the command line has no effect, or the cells cannot be read.
    """
    chosen = cells(config)
    for cell in chosen:
        try:
            effects.refuse_without_effect(cell.config, cell.changed)
        except UserError as error:
            raise UserError(f"cell {cell.name!r}: {error}; or choose cells with --config.grid.only") from error
    effects.refuse_replaced(overridden, {"train.seed"}, "its cells have those of config.grid.seeds")
    everywhere = set.intersection(*(set(cell.changed) for cell in chosen))
    effects.refuse_replaced(overridden, everywhere, "all of its cells have values of their own")
    names = {cell.name for cell in chosen}
    asked = config.grid.only or [name for name, _, _ in config.grid.cells]
    if left_out := [name for name in asked if name not in names]:
        log.info("left out, since only %s are in use: %s", ", ".join(config.model.modalities), ", ".join(left_out))


def _whole(config: ConfigDict, dataset: Dataset, split: str) -> Summary | list[Path]:
    folder = Path(config.workdir)
    match config.study:
        case "ablation" | "heads":
            return ablation.run(config, dataset, folder, split)
        case "robustness":
            return robustness.run(config, dataset, folder, split)
        case "crossval":
            return crossval.run(config, dataset, folder)
    summary, best = sweep.run(config, dataset)
    return dataclasses.replace(summary, verdict=f"{summary.verdict}\n{command_line.training_command(best)}")


def _parts(config: ConfigDict, dataset: Dataset, split: str) -> list[Part]:
    match config.study:
        case "ablation" | "heads" | "robustness":
            return ablation.parts(config, dataset, split)
        case "crossval":
            return crossval.parts(config, dataset, Path(config.workdir))
    return sweep.parts(config, dataset)
