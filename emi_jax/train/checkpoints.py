"""Checkpoints by orbax: the last ones to go on from, and the best one to evaluate, kept apart."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from emi_jax.errors import UserError
from emi_jax.train.processes import is_first
from emi_jax.train.seal import SealRestore, SealSave, content_hash
from emi_jax.train.step import TrainState

log = logging.getLogger(__name__)


class Progress(NamedTuple):
    """All that a run goes on from.

    Attributes:
        state: after the last step.
        rng: of the whole run, a PRNG key.
        batches: how many have been taken from the data: the position of its iterator.
    """

    state: TrainState
    rng: jax.Array
    batches: int


class Checkpoints:
    """The checkpoints of a run, in `last/` and `best/` of a folder.

    orbax writes in the background and renames a finished checkpoint into place, so that a run killed at any moment
    leaves whole ones only. What is damaged later is found by the hash of its content and put into `damaged/`. Best and
    last have folders of their own: with one folder the last is deleted once it is worse than the best, and a run would
    go back.

    Frozen parameters are not saved: they are those of the encoder folders that the run names.
    """

    def __init__(self, folder: Path, keep: int):
        """Opens the folder; it is made with the first checkpoint.

        Args:
            folder: in the run's workdir.
            keep: how many of the last checkpoints stay.
        """
        self._folder = folder.absolute()
        self._last = _manager(self._folder / "last", keep)
        self._best = _manager(self._folder / "best", 1)
        self._goal = self._best_goal()

    def save(self, progress: Progress) -> None:
        """Saves what to go on from; returns before it is on disk. The best one so far is on disk first."""
        with _told(self._folder):
            self._best.wait_until_finished()
            if progress.batches != self._last.latest_step():
                self._last.save(progress.batches, args=_items(progress, {}))

    def save_best(self, progress: Progress, goal: float) -> None:
        """Saves what to evaluate if its `goal` is higher than that of the best so far; returns before it is on disk."""
        if self._goal is not None and goal <= self._goal:
            return
        self._goal = goal
        with _told(self._folder):
            self._best.save(progress.batches, args=_items(progress, {"goal": goal}), force=True)

    def restore_last(self, like: Progress) -> Progress | None:
        """The last good checkpoint, laid out as `like`; None before the first. One that is damaged is set aside.

        Raises:
            UserError: there are checkpoints, and all are damaged.
        """
        for step in sorted(self._last.all_steps(), reverse=True):
            try:
                return _read(self._last, step, like)
            except _DamagedError as damage:
                log.warning("%s; going on from the one before it", damage)
                self._set_aside(self._last, step)
        if any((self._folder / "damaged").glob("last-*")):
            raise UserError(
                f"no checkpoint in {self._folder} is whole; delete the workdir to start anew, or take another"
            )
        return None

    def restore_best(self, like: Progress) -> TrainState:
        """The best state, laid out as that of `like`.

        Raises:
            UserError: there is none, or it is damaged.
        """
        step = self._best.latest_step()
        if step is None:
            raise UserError(f"no checkpoint in {self._folder / 'best'}: train first, with --mode=train")
        try:
            return _read(self._best, step, like).state
        except _DamagedError as damage:
            raise UserError(f"{damage}; put a copy in its place, or train again in another workdir") from damage

    def close(self) -> None:
        """Waits until all is on disk."""
        with _told(self._folder):
            self._last.close()
            self._best.close()

    def _best_goal(self) -> float | None:
        step = self._best.latest_step()
        if step is None:
            return None
        try:
            return self._best.restore(step, args=ocp.args.Composite(seal=SealRestore())).seal["goal"]
        except Exception:  # whatever a damaged file makes of its reader
            log.warning("checkpoint %s is damaged; the next one counts as the best", self._best.directory / str(step))
            self._set_aside(self._best, step)
            return None

    def _set_aside(self, manager: ocp.CheckpointManager, step: int) -> None:
        folder = Path(manager.directory) / str(step)
        if is_first():
            aside = self._folder / "damaged"
            aside.mkdir(exist_ok=True)
            folder.rename(aside / f"{folder.parent.name}-{step}-{len(list(aside.iterdir()))}")
        multihost_utils.sync_global_devices(f"set aside {folder}")
        manager.reload()


class _DamagedError(Exception):
    """A checkpoint that cannot be read, or whose content is not what was saved."""


def _manager(folder: Path, keep: int) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(folder, options=ocp.CheckpointManagerOptions(max_to_keep=keep))


def _arrays(progress: Progress) -> dict[str, Any]:
    state = progress.state
    parts = {"step": state.step, "params": state.params, "opt_state": state.opt_state, "ema": state.ema}
    return jax.tree.map(_of_all_processes, parts | {"rng": progress.rng})


def _of_all_processes(leaf: jax.Array) -> jax.Array:
    """The same array, seen by orbax as that of all processes: under pmap each process holds one of its own."""
    if jax.process_count() == 1 or not leaf.is_fully_addressable:
        return leaf
    return ocp.utils.fully_replicated_host_local_array_to_global_array(leaf)


def _items(progress: Progress, facts: dict[str, Any]) -> ocp.args.Composite:
    arrays, facts = _arrays(progress), facts | {"batches": progress.batches}
    return ocp.args.Composite(state=ocp.args.StandardSave(arrays), seal=SealSave(arrays, facts))


def _read(manager: ocp.CheckpointManager, step: int, like: Progress) -> Progress:
    folder = Path(manager.directory) / str(step)
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _arrays(like))
    try:
        args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), seal=SealRestore())
        found = manager.restore(step, args=args)
        arrays, sealed, batches = found.state, found.seal["sha256"], found.seal["batches"]
    except Exception as error:  # whatever a damaged file makes of its reader
        raise _DamagedError(f"checkpoint {folder} cannot be read: {_first_line(error)}") from error
    if (content := content_hash(arrays)) != sealed:
        raise _DamagedError(f"checkpoint {folder} is damaged: its content is {content[:12]}, sealed was {sealed[:12]}")
    rng = arrays.pop("rng")
    return Progress(like.state.replace(**arrays), rng, batches)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Says in one line what kept a checkpoint from the disk."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"a checkpoint could not be written to {folder}: {_first_line(error)}. Those before it are whole: "
            "when the cause is mended, the same command goes on from them"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
