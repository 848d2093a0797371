"""Runs a study: as a whole in this process, or in parts as `config.launch` says."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from configs import command_line, effects
from configs.commands.launch import is_asked, launch
from emi_jax.inputs.dataset import Dataset
from emi_jax.runs.results import Summary
from emi_jax.studies import ablation, crossval, robustness, sweep
from emi_jax.studies.parts import Part


def run(config: ConfigDict, dataset: Dataset, split: str, command: Sequence[str]) -> Summary | list[Path] | None:
    """Does a study, a part of it, or starts the processes that do its parts.

    Args:
        config: of the study.
        dataset: the dataset.
        split: the split to score, for the studies that score one.
        command: the command line of this process, which is started again for single parts.

    Returns:
        The results, or the files that hold them; None if other processes do the study, or this one did a part.

    Raises:
        UserError: the study cannot be done.
    """
    if config.study == "sweep":
        for each in sweep.runs(config):
            effects.refuse_without_effect(each.config, each.setting.changes)
    if not is_asked(config):
        return _whole(config, dataset, split)
    launch(config, _parts(config, dataset, split), command)
    return None


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
    if config.launch.index < 0:  # else other processes may be writing to the folders of other runs
        sweep.check_started(sweep.runs(config), dataset)
    return sweep.parts(config, dataset)
