"""Checkpoints by orbax: the last ones to go on from, and the best one to evaluate, kept apart."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from emi_jax.errors import UserError
from emi_jax.train.step import TrainState


class Checkpoints:
    """The checkpoints of a run, in `last/` and `best/` of a folder.

    orbax writes in the background and renames a finished checkpoint into place, so that a run killed at any moment
    leaves whole ones only. Best and last have folders of their own: with one folder the last is deleted once it is
    worse than the best, and a run would go back.

    Frozen parameters are not saved: they are those of the encoder folders that the run names.
    """

    def __init__(self, folder: Path, keep: int):
        """Opens the folder; it is made with the first checkpoint.

        Args:
            folder: in the run's workdir.
            keep: how many of the last checkpoints stay.
        """
        self._folder = folder.absolute()
        self._last = ocp.CheckpointManager(
            self._folder / "last", options=ocp.CheckpointManagerOptions(max_to_keep=keep)
        )
        self._best = ocp.CheckpointManager(self._folder / "best", options=ocp.CheckpointManagerOptions(max_to_keep=1))

    def save(self, state: TrainState) -> None:
        """Saves the state to go on from; returns before it is on disk."""
        step = int(state.step)
        if step != self._last.latest_step():
            self._last.save(step, args=ocp.args.StandardSave(_saved(state)))

    def save_best(self, state: TrainState, goal: float) -> None:
        """Saves the state if its `goal` is higher than that of the best one so far."""
        if self.best_goal is not None and goal <= self.best_goal:
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_saved(state)), score=ocp.args.JsonSave({"goal": float(goal)})
        )
        self._best.save(int(state.step), args=items, force=True)
        self._best.wait_until_finished()

    @property
    def best_goal(self) -> float | None:
        """The goal that the best checkpoint reached; None without one."""
        step = self._best.latest_step()
        if step is None:
            return None
        return self._best.restore(step, args=ocp.args.Composite(score=ocp.args.JsonRestore())).score["goal"]

    def restore_last(self, state: TrainState) -> TrainState | None:
        """The last state, laid out like `state`; None without one."""
        step = self._last.latest_step()
        if step is None:
            return None
        return _restored(state, self._read(self._last, step, ocp.args.StandardRestore(_abstract(state))))

    def restore_best(self, state: TrainState) -> TrainState:
        """The best state, laid out like `state`.

        Raises:
            UserError: there is none.
        """
        step = self._best.latest_step()
        if step is None:
            raise UserError(f"no checkpoint in {self._folder / 'best'}: train first, with --mode=train")
        item = ocp.args.Composite(state=ocp.args.StandardRestore(_abstract(state)))
        return _restored(state, self._read(self._best, step, item).state)

    def close(self) -> None:
        """Waits until all is on disk."""
        self._last.close()
        self._best.close()

    def _read(self, manager: ocp.CheckpointManager, step: int, args: Any) -> Any:
        try:
            return manager.restore(step, args=args)
        except (ValueError, KeyError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"checkpoint {manager.directory / str(step)} cannot be read: {reason}; delete that folder to go on "
                "from the one before it"
            ) from error


def _saved(state: TrainState) -> dict[str, Any]:
    return {"step": state.step, "params": state.params, "opt_state": state.opt_state, "ema": state.ema}


def _abstract(state: TrainState) -> Any:
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, _saved(state))


def _restored(state: TrainState, saved: dict[str, Any]) -> TrainState:
    return state.replace(**saved)
