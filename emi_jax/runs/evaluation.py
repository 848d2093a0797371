"""Evaluates the trained parameters of a run on a split, without building an optimiser."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from emi_jax.encoders.sources import TRAINED
from emi_jax.runs import weights
from emi_jax.runs.checks import AVERAGE, BEST, check_shares
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import inputs
from emi_jax.runs.lengths import length_buckets
from emi_jax.runs.standardisation import standardised
from emi_jax.train import parameters
from emi_jax.train.checkpoints import restore_best, restore_final
from emi_jax.train.evaluation import Evaluator
from emi_jax.train.processes import is_first
from emi_jax.train.seeds import averaged_forward, stack, vectorised_forward

CHECKPOINTS = "checkpoints"
"""The folder of checkpoints in a run's workdir."""
SELECTED = "the clips of {split} chose the checkpoint: these scores are too high for clips never seen"
"""The caution about scores on the split by which the parameters were selected."""
TRAINED_ON = "the model was trained on the clips of {split}: these scores say nothing about clips never seen"
"""The caution about scores on a split that was trained on."""


def member_seeds(config: ConfigDict, seed: int | None = None) -> tuple[int, ...]:
    """The seeds of the members of a run's ensemble; empty if it trains a single model.

    Runs of different seeds have no member in common.

    Args:
        config: the run's config.
        seed: the run's seed, `config.train.seed` by default.
    """
    count, seed = config.train.get("members", 1), config.train.seed if seed is None else seed
    return tuple(range(seed * count, (seed + 1) * count)) if count > 1 else ()


def stored_config(config: ConfigDict, seeds: Sequence[int] = ()) -> dict[str, Any]:
    """The config as the folder of a run keeps it: with the seeds of the models that it trains side by side.

    Args:
        config: the run's config.
        seeds: seeds trained in parallel; if empty, those of the members of the run's ensemble.
    """
    seeds = tuple(seeds) or member_seeds(config)
    return config.to_dict() | ({"seeds": list(seeds)} if seeds else {})


def chosen_params(experiment: Experiment, seeds: int = 0) -> dict:
    """All parameters of a trained run, as selected by `config.train.select`, on the devices.

    Args:
        experiment: the run.
        seeds: S, the number of seeds trained in parallel; trained parameters are then [S, ...]. By default the members
            of the run's ensemble, or 0 for a single model.

    Raises:
        UserError: the parameters are missing or damaged.
    """
    seeds = seeds or len(member_seeds(experiment.config))
    if weights.is_exported(experiment.workdir.path):
        return experiment.mapping.replicate(weights.load(experiment.workdir.path, _all_shapes(experiment, seeds)))
    trained, frozen = experiment.initial_params()
    trained, frozen = experiment.mapping.replicate((stack(trained, seeds) if seeds else trained, frozen))
    folder = experiment.workdir.path / CHECKPOINTS
    if experiment.config.train.select == BEST:
        return parameters.merge(restore_best(folder, trained), frozen)
    config = experiment.config.train
    final = restore_final(folder, {"params": trained, "average": trained if config.ema or config.swa else None})
    return parameters.merge(final["average" if config.select == AVERAGE else "params"], frozen)


def evaluator(experiment: Experiment, split: str, seeds: int = 0) -> Evaluator:
    """An evaluator of the stage on a split of the dataset.

    Args:
        experiment: the run.
        split: name of the split.
        seeds: the number of seeds trained in parallel, each of which is scored; 0 for a single model, or for an
            ensemble whose predictions are averaged.
    """
    examples, transform = inputs(experiment, split, augment=False)
    experiment = standardised(experiment)
    batch_size, stage = experiment.config.train.batch_size, experiment.stage
    check_shares(batch_size, experiment.mapping.num_devices, 1)
    function: Any = (
        vectorised_forward(stage.forward, *_shapes(experiment)) if seeds else of_members(experiment, "forward")
    )
    buckets, threads = length_buckets(experiment, split), experiment.config.data.threads
    return Evaluator(
        stage, experiment.mapping, examples, transform, batch_size, split, function, seeds, buckets, threads
    )


def of_members(experiment: Experiment, name: str) -> Any:
    """A forward pass of the stage by its name: of the single model, or the mean over the members of an ensemble."""
    function = getattr(experiment.stage, name)
    return averaged_forward(function, *_shapes(experiment)) if member_seeds(experiment.config) else function


def _shapes(experiment: Experiment) -> tuple[Any, Any]:
    """The trained and the frozen parameters as shapes."""
    stage = experiment.stage
    return experiment.split(jax.eval_shape(stage.init, jax.random.PRNGKey(0), experiment.encoders.params))


def _all_shapes(experiment: Experiment, seeds: int) -> dict:
    """All parameters as shapes; with seeds, the trained ones are [S, ...]."""
    trained, frozen = _shapes(experiment)
    return parameters.merge(jax.eval_shape(lambda tree: stack(tree, seeds), trained) if seeds else trained, frozen)


def selected_on(experiment: Experiment, split: str) -> bool:
    """Whether the evaluated parameters were selected on this split, so that its scores are optimistic."""
    return split == "valid" and experiment.config.train.select == BEST


def trained_on(experiment: Experiment, split: str) -> bool:
    """Whether the clips of this split were trained on, so that its scores say nothing."""
    return split in experiment.config.data.train_on


def export(experiment: Experiment, params: dict) -> Path:
    """Saves the towers of `params` as the result of the run."""
    folder = experiment.workdir.path / TRAINED
    if is_first():
        experiment.encoders.save(folder, jax.device_get(params["towers"]))
    return folder
