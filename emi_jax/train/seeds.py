"""Several seeds trained in parallel: a leading axis on all trained arrays, and one compiled step for all seeds.

A small model's step is dominated by the overhead of small operations; running several seeds together makes each
operation larger. Frozen parameters are shared. Each seed has the same initial weights, order of clips, corruption and
dropout as in a separate run with that seed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emi_jax.inputs.transforms import Arrays
from emi_jax.train.checkpoints import Checkpoints, restore_best
from emi_jax.train.parameters import merge
from emi_jax.train.step import TrainState

INIT, STEP = 1, 2
"""Uses of a run's seed on the devices; each has a separate key."""
STATE = TrainState(step=0, params=0, frozen=None, opt_state=0, average=0)  # type: ignore[arg-type]
"""The axis of the seeds in each part of a state."""


def key(seed: int, use: int) -> jax.Array:
    """The PRNG key for one use of a seed: `INIT` or `STEP`."""
    return jax.random.fold_in(jax.random.PRNGKey(seed), use)


def vectorised_step(step: Callable) -> Callable:
    """A step for S seeds at once: trained arrays [S, ...], keys [S, 2], and batches [b, S, ...]."""
    return jax.vmap(step, in_axes=(STATE, 1, 0), out_axes=(STATE, 0))


def vectorised_forward(forward: Callable, trained: Any, frozen: Any) -> Callable:
    """A forward pass for S seeds at once over the same clips; its outputs are [b, S, ...].

    Args:
        forward: (params, batch) -> outputs.
        trained: parameters with the seed axis; only the structure of the tree is used.
        frozen: parameters without it; likewise.
    """
    axes = merge(jax.tree.map(lambda _: 0, trained), jax.tree.map(lambda _: None, frozen))
    return jax.vmap(forward, in_axes=(axes, None), out_axes=1)


def averaged_forward(forward: Callable, trained: Any, frozen: Any) -> Callable:
    """The mean over S seeds of a forward pass's numbers, [b, ...]; arguments as in `vectorised_forward`.

    What is no number, such as a mask, is the same for all seeds.
    """
    vectorised = vectorised_forward(forward, trained, frozen)

    def average(params: Any, batch: Any) -> Any:
        outputs = vectorised(params, batch)
        return jax.tree.map(lambda x: x.mean(1) if jnp.issubdtype(x.dtype, jnp.floating) else x[:, 0], outputs)

    return average


def stack(tree: Any, seeds: int) -> Any:
    """The same arrays for each of S seeds, [S, ...]."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (seeds, *jnp.shape(leaf))), tree)


def stacked(streams: Sequence[Iterator[Arrays]]) -> Iterator[Arrays]:
    """The batches of all seeds, stacked along axis 1: [b, S, ...]."""
    for parts in zip(*streams, strict=True):
        yield {name: np.stack([part[name] for part in parts], axis=1) for name in parts[0]}


class Best:
    """The best-scoring evaluated parameters so far, of each seed separately, as stored in the `best` checkpoint."""

    def __init__(self, checkpoints: Checkpoints, like: Any, seeds: int):
        """Starts from the content of the checkpoint.

        Args:
            checkpoints: the checkpoints of the run.
            like: trained parameters with the expected layout.
            seeds: S, or 0 for parameters without the seed axis.
        """
        self._checkpoints, self._seeds = checkpoints, seeds
        self._params = restore_best(checkpoints.folder, like) if seeds and checkpoints.best_goals else None

    def update(self, step: int, params: Any, goals: Sequence[float]) -> bool:
        """Saves parameters that are better, for each seed separately.

        Args:
            step: number of steps completed.
            params: the trained parameters as evaluation uses them.
            goals: their scores, one for each seed; higher is better.

        Returns:
            Whether those of any seed are better.
        """
        before = np.array(self._checkpoints.best_goals or [-np.inf] * len(goals))
        better = np.asarray(goals) > before
        if not better.any():
            return False
        if self._seeds:
            params = self._params = _chosen(better, params, self._params)
        self._checkpoints.save_best(step, params, [float(goal) for goal in np.where(better, goals, before)])
        return True


def _chosen(better: np.ndarray, new: Any, old: Any) -> Any:
    """The new or the old parameters of each seed, arrays [S, ...], copied so that no step can donate them."""
    if old is None:
        return jax.tree.map(jnp.copy, new)
    return jax.tree.map(lambda one, other: jnp.where(better.reshape(-1, *(1,) * (one.ndim - 1)), one, other), new, old)
