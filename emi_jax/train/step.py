"""The training step: one pure function of (state, batch, rng), the same on every device."""

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from emi_jax.train.accumulation import Outputs, value_and_gradients
from emi_jax.train.averaging import Averaging
from emi_jax.train.mapping import AXIS
from emi_jax.train.parameters import merge

Metrics = dict[str, jax.Array]
Batch = dict[str, jax.Array]


class Stage(Protocol):
    """What the engine requires of a training stage."""

    @property
    def goal(self) -> str:
        """The metric of `score` by which the best checkpoint is selected; higher is better."""

    @property
    def trained_towers(self) -> Collection[str]:
        """Modalities whose towers are trained, at least in part."""

    @property
    def example(self) -> Batch:
        """A batch of any size, for its shapes."""

    def init(self, rng: jax.Array, loaded: dict) -> dict:
        """All parameters, a tree of dicts; `loaded` holds those of towers that do not start from scratch."""

    def outputs(self, params: dict, batch: Batch, rng: jax.Array) -> Outputs:
        """What the training loss needs for each clip, a tree of arrays [b, ...]; row i depends on clip i alone."""

    def loss(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The loss over the GLOBAL batch, and its parts: scalars, equal on all devices of `AXIS`."""

    def forward(self, params: dict, batch: Batch) -> dict[str, jax.Array]:
        """What evaluation needs for each clip, [b, ...]."""

    def features(self, towers: dict, batch: Batch, modalities: Sequence[str]) -> dict[str, jax.Array]:
        """What the feature cache keeps of frozen towers, `{modality}/...` [b, ...]; takes the place of raw inputs."""

    def score(self, outputs: dict[str, np.ndarray], split: str) -> dict[str, float]:
        """Metrics over a whole split from the outputs of `forward` and the batch, [n, ...], without padding."""


class TrainState(flax.struct.PyTreeNode):
    """The state that a step updates, and the frozen parameters that it reads.

    Attributes:
        step: number of steps completed, int32 [].
        params: trained parameters, float32.
        frozen: parameters that no gradient reaches.
        opt_state: the optax state.
        average: average of `params` over steps; None if disabled.
    """

    step: jax.Array
    params: Any
    frozen: Any
    opt_state: optax.OptState
    average: Any

    @property
    def evaluated_params(self) -> Any:
        """The trained parameters as evaluation uses them: their average if there is one."""
        return self.params if self.average is None else self.average

    @property
    def evaluated(self) -> dict:
        """All parameters as evaluation uses them."""
        return merge(self.evaluated_params, self.frozen)


def create_state(
    params: Any, frozen: Any, optimizer: optax.GradientTransformation, averaged: bool = False
) -> TrainState:
    """The state before the first step, with an average of the parameters if `averaged`."""
    average = jax.tree.map(jnp.array, params) if averaged else None
    return TrainState(jnp.zeros((), jnp.int32), params, frozen, optimizer.init(params), average)


def make_step(
    stage: Stage, optimizer: optax.GradientTransformation, averaging: Averaging | None = None, accumulation: int = 1
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, Metrics]]:
    """The per-device step, to be mapped with the axis name `AXIS`.

    The loss is the fully reduced global scalar, and its gradients are averaged over devices. Collectives pass on the
    cotangents of all devices, so each device's gradient is num_devices times its share, and their mean equals the
    gradient on a single device that holds the whole batch.

    Args:
        stage: the stage to train.
        optimizer: the optimizer of its trained parameters.
        averaging: how they are averaged over steps; None if the state has no average.
        accumulation: number of chunks in which a device processes its part of the batch; does not change the gradients.
    """

    def step(state: TrainState, batch: Batch, rng: jax.Array) -> tuple[TrainState, Metrics]:
        rng = jax.random.fold_in(jax.random.fold_in(rng, state.step), jax.lax.axis_index(AXIS))

        def outputs(params: Any, clips: Batch, rng: jax.Array) -> Outputs:
            return stage.outputs(merge(params, state.frozen), clips, rng)

        (value, parts), gradients = value_and_gradients(outputs, stage.loss, state.params, batch, rng, accumulation)
        if jax.lax.axis_size(AXIS) > 1:  # XLA on the CPU would copy them
            gradients = jax.lax.pmean(gradients, AXIS)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        average = state.average
        if averaging is not None:
            average = optax.incremental_update(params, average, averaging(state.step + 1))
        state = state.replace(step=state.step + 1, params=params, opt_state=opt_state, average=average)
        return state, {"loss": value, **parts, **gradient_norms(gradients)}

    return step


def gradient_norms(gradients: Any) -> Metrics:
    """The L2 norm of all gradients, and that of each part of the model: the first two names of its parameters' paths.

    The squares are added once, by part; the global norm is that of the norms of the parts.
    """
    squares: dict[str, jax.Array] = {}
    for path, gradient in traverse_util.flatten_dict(gradients).items():
        part = "/".join(path[:-1][:2] or path)
        squares[part] = squares.get(part, jnp.zeros(())) + jnp.square(gradient).sum()
    norms = {f"gradient_norm/{part}": jnp.sqrt(square) for part, square in squares.items()}
    return {"gradient_norm": jnp.sqrt(sum(squares.values())), **norms}
