"""Trains one config with several seeds at once: the seeds are an axis of one compiled step.

A small model's step is mostly waiting between small operations; with the seeds side by side each operation is larger.
Each seed has its own initial weights, order of clips, corruption and dropout: those of a run with that
`config.train.seed`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from emi_jax.errors import UserError
from emi_jax.inputs.loader import batches, to_device
from emi_jax.inputs.sampling import Epochs
from emi_jax.inputs.transforms import Arrays
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.from_config import interval
from emi_jax.stages.intensity import Intensity
from emi_jax.train.evaluation import Evaluator
from emi_jax.train.mapping import REPLICATED, SHARDED
from emi_jax.train.optimizer import adamw, schedule
from emi_jax.train.step import TrainState, create_state, make_step

STATE = TrainState(step=0, params=0, frozen=None, opt_state=0, ema=0)  # type: ignore[arg-type]
"""The axis of the seeds in a state: the encoders are the same for all."""
PARAMS = {"towers": None, "fusion": 0}


def train_seeds(experiment: Experiment, seeds: Sequence[int]) -> dict[str, Any]:
    """Trains a fusion on frozen encoders once for each seed.

    Args:
        experiment: of stage 2.
        seeds: S of them, each in place of `config.train.seed`.

    Returns:
        All parameters, on the devices: of each seed those of the epoch that was best on the validation split.
        `fusion` leaves are [S, ...], `towers` are without the axis.

    Raises:
        UserError: the config trains the encoders, which are shared by the seeds.
    """
    config, stage, mapping = experiment.config.train, cast(Intensity, experiment.stage), experiment.mapping
    if stage.trained_towers:
        raise UserError("several seeds at once share their encoders: freeze them, --config.train.frozen='^towers/'")
    experiment.check_training()
    examples, transform = experiment.inputs("train", augment=True)
    plans = [Epochs(len(examples), config.batch_size, seed) for seed in seeds]
    steps = config.epochs * plans[0].steps
    rate = schedule(config.learning_rate, config.final_rate, round(config.warmup_epochs * plans[0].steps), steps)

    towers = stage.init(jax.random.PRNGKey(config.seed), experiment.encoders.params)["towers"]
    trained = {"fusion": stage.init_seeds(seeds, towers)}
    optimizer = adamw(
        trained,
        rate,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        rate_factors=config.rate_factors,
    )
    state = jax.vmap(lambda params: create_state(params, {}, optimizer, config.ema))(trained)
    state = mapping.replicate(state.replace(frozen={"towers": towers}))
    one = make_step(stage, optimizer, config.ema, config.accumulation)
    many = jax.vmap(one, in_axes=(STATE, 1, 0), out_axes=(STATE, 0))
    step = mapping.map(many, (REPLICATED, SHARDED, REPLICATED), donate=(0,))
    rngs = mapping.replicate(jnp.stack([jax.random.PRNGKey(seed) for seed in seeds]))

    evaluator, best = evaluate_seeds(experiment, "valid"), Best(len(seeds))
    every = interval(config, "evaluate_every", plans[0].steps)
    streams = [
        batches(examples, transform, plan, seed=seed, steps=steps) for plan, seed in zip(plans, seeds, strict=True)
    ]
    bar = tqdm.tqdm(to_device(_side_by_side(streams), mapping.put), "training", steps, unit="step", mininterval=2)
    for number, batch in enumerate(bar, 1):
        state, metrics = step(state, batch, rngs)
        if number % every == 0 or number == steps:
            if not np.isfinite(jax.device_get(metrics["loss"])).all():
                raise UserError(f"the loss is not finite at step {number}: lower config.train.learning_rate")
            best.offer(state.evaluated["fusion"], seed_goals(stage, evaluator.gather(state.evaluated), "valid"))
    return {"towers": state.frozen["towers"], "fusion": best.params}


class Best:
    """Of each seed the parameters that scored best so far."""

    def __init__(self, count: int):
        """Begins with none of `count` seeds."""
        self.params: Any = None
        self.goals = np.full(count, -np.inf)

    def offer(self, params: Any, goals: np.ndarray) -> None:
        """Takes those seeds of params, leaves [S, ...], whose goal in [S] is higher than before."""
        better = jnp.asarray(goals > self.goals)
        if self.params is None:
            self.params = jax.tree.map(jnp.array, params)
        else:
            self.params = jax.tree.map(
                lambda new, old: jnp.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old), params, self.params
            )
        self.goals = np.maximum(goals, self.goals)


def evaluate_seeds(experiment: Experiment, split: str) -> Evaluator:
    """An evaluator of parameters with an axis of seeds; its outputs are [n, S, ...]."""
    stage = cast(Intensity, experiment.stage)
    forward = jax.vmap(stage.forward, in_axes=(PARAMS, None), out_axes=1)
    return experiment.evaluator(split, forward)


def seed_scores(stage: Intensity, outputs: Arrays, split: str) -> list[dict[str, float]]:
    """The stage's scores of each seed, from the outputs of `evaluate_seeds`."""
    count = outputs["predictions"].shape[1]
    return [stage.score(outputs | {"predictions": outputs["predictions"][:, seed]}, split) for seed in range(count)]


def seed_goals(stage: Intensity, outputs: Arrays, split: str) -> np.ndarray:
    """The stage's goal for each seed, float64 [S]."""
    return np.array([scores[stage.goal] for scores in seed_scores(stage, outputs, split)])


def _side_by_side(streams: Sequence[Iterator[Arrays]]) -> Iterator[Arrays]:
    """One batch of each seed, stacked along axis 1: [B, S, ...]."""
    for parts in zip(*streams, strict=True):
        yield {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}
