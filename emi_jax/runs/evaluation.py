"""Evaluates the trained parameters of a run on a split, without building an optimiser."""

from pathlib import Path
from typing import Any

import jax

from emi_jax.encoders.sources import TRAINED
from emi_jax.runs.checks import BEST, EMA, check_shares
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import inputs
from emi_jax.train import parameters
from emi_jax.train.checkpoints import restore_best, restore_final
from emi_jax.train.evaluation import Evaluator
from emi_jax.train.processes import is_first
from emi_jax.train.seeds import stack, vectorised_forward

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints in a run's workdir."""
SELECTED = "the clips of {split} chose the checkpoint: these scores are too high for clips never seen"
"""The caution about scores on the split by which the parameters were selected."""


def chosen_params(experiment: Experiment, seeds: int = 0) -> dict:
    """All parameters of a trained run, as selected by `config.train.select`, on the devices.

    Args:
        experiment: the run.
        seeds: S, the number of seeds trained in parallel; trained parameters are then [S, ...]. 0 for a single run.

    Raises:
        UserError: the parameters are missing or damaged.
    """
    trained, frozen = experiment.initial_params()
    trained, frozen = experiment.mapping.replicate((stack(trained, seeds) if seeds else trained, frozen))
    folder = experiment.workdir.path / CHECKPOINTS
    if experiment.config.train.select == BEST:
        return parameters.merge(restore_best(folder, trained), frozen)
    average = trained if experiment.config.train.ema else None
    final = restore_final(folder, {"params": trained, "ema": average})
    return parameters.merge(final["ema" if experiment.config.train.select == EMA else "params"], frozen)


def evaluator(experiment: Experiment, split: str, seeds: int = 0) -> Evaluator:
    """An evaluator of the stage on a split of the dataset.

    Args:
        experiment: the run.
        split: name of the split.
        seeds: the number of seeds trained in parallel; 0 for a single run.
    """
    examples, transform = inputs(experiment, split, augment=False)
    batch_size, stage = experiment.config.train.batch_size, experiment.stage
    check_shares(batch_size, experiment.mapping.num_devices, 1)
    function: Any = stage.forward
    if seeds:
        key = jax.random.PRNGKey(0)
        function = vectorised_forward(
            function, *experiment.split(jax.eval_shape(stage.init, key, experiment.encoders.params))
        )
    return Evaluator(stage, experiment.mapping, examples, transform, batch_size, split, function, seeds)


def selected_on(experiment: Experiment, split: str) -> bool:
    """Whether the evaluated parameters were selected on this split, so that its scores are optimistic."""
    return split == "valid" and experiment.config.train.select == BEST


def export(experiment: Experiment, params: dict) -> Path:
    """Saves the towers of `params` as the result of the run."""
    folder = experiment.workdir.path / TRAINED
    if is_first():
        experiment.encoders.save(folder, jax.device_get(params["towers"]))
    return folder
