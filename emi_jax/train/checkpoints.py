"""Checkpoints by orbax: the latest ones to resume from, and the best and the final parameters to evaluate."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import orbax.checkpoint as ocp

from emi_jax.errors import UserError
from emi_jax.train.processes import decide_in_first, succeed_together
from emi_jax.train.seal import DamagedError, Seal, SealedSave, check_files, first_difference, layout, read_seal
from emi_jax.train.step import TrainState

log = logging.getLogger(__name__)

ITEM = "arrays"
"""The folder in a checkpoint that holds its arrays and seal."""
NOTHING = -1
"""Stands for a step number when there is no checkpoint."""

Tree = TypeVar("Tree")


class Progress(NamedTuple):
    """Everything a run needs to resume.

    Attributes:
        state: the state after the last step.
        rng: the PRNG key of the whole run.
        batches: number of batches read so far, that is, the position of the data iterator.
    """

    state: TrainState
    rng: jax.Array
    batches: int


class Checkpoints:
    """The checkpoints of a run in training, in the subfolders `last/`, `best/` and `final/`.

    orbax writes in the background and renames a finished checkpoint into place, so a run killed at any moment leaves
    only complete checkpoints. The hashes in the seal reveal later damage, and a damaged checkpoint is moved to
    `damaged/`. `best/` holds only the evaluated parameters. It is a separate folder because, in a shared one, orbax
    would delete the latest checkpoint once it is worse than the best, and a resumed run would lose progress. `final/`
    holds the parameters after the last step.

    Frozen parameters are not saved: they are loaded from the encoder folders that the config names.
    """

    def __init__(self, folder: Path, keep: int):
        """Creates the folder if needed and opens it for writing.

        Args:
            folder: the folder in the run's workdir.
            keep: number of latest checkpoints to keep.
        """
        self.folder = folder.absolute()
        with _one_line_errors(self.folder):
            self._last = _manager(self.folder / "last", keep)
            self._best = _manager(self.folder / "best", 1)
            self._final = _manager(self.folder / "final", 1)
        self.best_goals = self._find_best()

    def save(self, progress: Progress) -> None:
        """Saves the progress to resume from; returns before it is on disk.

        If the process is killed, this checkpoint may exist without the best one of the same step, in which case that
        step is evaluated again. The best one of an earlier step is never missing.
        """
        if progress.batches == self._last.latest_step():
            return
        with _one_line_errors(self.folder):
            self._best.wait_until_finished()
            self._last.save(progress.batches, args=_composite(_arrays(progress), {"batches": progress.batches}))

    def save_best(self, step: int, params: Any, goals: Sequence[float]) -> None:
        """Saves evaluated parameters if they beat the best score so far; returns before they are on disk.

        Args:
            step: the step after which they were evaluated.
            params: the trained parameters, or their average over steps.
            goals: their score, or one score for each seed. They become `best_goals`.
        """
        if self.best_goals and all(new <= old for new, old in zip(goals, self.best_goals, strict=True)):
            return
        self.best_goals = tuple(goals)
        with _one_line_errors(self.folder):
            arrays = jax.tree.map(_of_all_processes, params)
            self._best.save(step, args=_composite(arrays, {"goals": self.best_goals}), force=True)

    def save_final(self, step: int, params: Any) -> None:
        """Saves the parameters after the last step; returns before they are on disk."""
        if step != self._final.latest_step():
            with _one_line_errors(self.folder):
                self._final.save(step, args=_composite(jax.tree.map(_of_all_processes, params), {}))

    def restore_last(self, like: Progress) -> Progress | None:
        """The latest undamaged checkpoint, laid out as `like`; None if there is none yet. Moves damaged ones aside.

        Raises:
            UserError: all checkpoints are damaged, or the latest undamaged one is unreadable or does not fit the model.
        """
        expected = _arrays(like)
        step = decide_in_first(lambda: self._last_good_step(expected))
        self._last.reload()
        if step == NOTHING:
            return None
        folder = self.folder / "last" / str(step) / ITEM
        arrays, seal = succeed_together(lambda: _restore(folder, expected))
        rng = arrays.pop("rng")
        return Progress(like.state.replace(**arrays), rng, seal.facts["batches"])

    def close(self) -> None:
        """Waits until all checkpoints are on disk."""
        with _one_line_errors(self.folder):
            self._last.close()
            self._best.close()
            self._final.close()

    def _last_good_step(self, expected: Any) -> int:
        for step in _steps(self.folder / "last"):
            try:
                _verify(self.folder / "last" / str(step) / ITEM, expected)
                return step
            except DamagedError as damage:
                log.warning("%s; trying the one before it", damage)
                self._set_aside("last", step)
        if damaged := list((self.folder / "damaged").glob("last-*")):
            raise UserError(
                f"all checkpoints in {self.folder / 'last'} are damaged, and were moved to {damaged[0].parent}: put a "
                "copy of one back there, or train again in another --workdir"
            )
        return NOTHING

    def _find_best(self) -> tuple[float, ...] | None:
        """The goals of the best checkpoint, None if there is none yet; moves one with a damaged seal aside."""
        step = decide_in_first(self._best_good_step)
        self._best.reload()
        if step == NOTHING:
            return None
        folder = self.folder / "best" / str(step) / ITEM
        with _not_damaged(folder):
            return tuple(succeed_together(lambda: read_seal(folder)).facts["goals"])

    def _best_good_step(self) -> int:
        for step in _steps(self.folder / "best"):
            folder = self.folder / "best" / str(step)
            try:
                with _not_damaged(folder):
                    read_seal(folder / ITEM)
                return step
            except DamagedError as damage:
                log.warning("checkpoint %s is damaged: %s; the next evaluation counts as the best", folder, damage)
                self._set_aside("best", step)
        return NOTHING

    def _set_aside(self, kind: str, step: int) -> None:
        aside = self.folder / "damaged"
        aside.mkdir(exist_ok=True)
        (self.folder / kind / str(step)).rename(aside / f"{kind}-{step}-{len(list(aside.iterdir()))}")


def restore_best(folder: Path, like: Tree) -> Tree:
    """The best-scoring parameters of a run; see `restore_params`."""
    return restore_params(folder / "best", like)


def restore_final(folder: Path, like: Tree) -> Tree:
    """The parameters of a run after its last step; see `restore_params`."""
    return restore_params(folder / "final", like)


def restore_params(folder: Path, like: Tree) -> Tree:
    """The parameters stored in a folder, laid out as `like`; the folder is not changed.

    Args:
        folder: the `best` or `final` folder of the checkpoints.
        like: the trained parameters of the run, on its devices.

    Raises:
        UserError: the parameters are missing, damaged, unreadable, or do not fit the model.
    """
    folder = folder.absolute()
    expected = jax.tree.map(_of_all_processes, like)

    def good_step() -> int:
        steps = _steps(folder)
        while steps:
            try:
                _verify(folder / str(steps[0]) / ITEM, expected)
                return steps[0]
            except DamagedError as damage:
                before, steps = steps, _steps(folder)
                if steps == before:  # otherwise a training run has just replaced it
                    raise UserError(f"{damage}. Put a copy in its place, or train again in another --workdir") from None
        raise UserError(f"no checkpoint in {folder}: train first, to the end, with --mode=train")

    step = decide_in_first(good_step)
    return succeed_together(lambda: _restore(folder / str(step) / ITEM, expected))[0]


def _manager(folder: Path, keep: int) -> ocp.CheckpointManager:
    # Processes wait for each other at barriers named by the step: without the prefix, folders that save the same step
    # at the same time would meet at one barrier, and the run would fail or hang.
    processes = ocp.options.MultiprocessingOptions(barrier_sync_key_prefix=folder.name)
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, multiprocessing_options=processes)
    return ocp.CheckpointManager(folder, options=options)


def _steps(folder: Path) -> list[int]:
    """Steps of the finished checkpoints in a folder, latest first."""
    try:
        return sorted((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _arrays(progress: Progress) -> dict[str, Any]:
    state = progress.state
    parts = {"step": state.step, "params": state.params, "opt_state": state.opt_state, "average": state.average}
    return jax.tree.map(_of_all_processes, parts | {"rng": progress.rng})


def _of_all_processes(leaf: jax.Array) -> jax.Array:
    """The same array, made global for orbax: under pmap each process holds a separate local array."""
    if jax.process_count() == 1 or not leaf.is_fully_addressable:
        return leaf
    return ocp.utils.fully_replicated_host_local_array_to_global_array(leaf)


def _composite(arrays: Any, facts: dict[str, Any]) -> ocp.args.Composite:
    return ocp.args.Composite(**{ITEM: SealedSave(arrays, facts)})


def _verify(folder: Path, expected: Any) -> None:
    """Checks a checkpoint's files against its seal, and its layout against the run's.

    Raises:
        DamagedError: a file differs from what was written.
        UserError: its arrays do not match those of this run, or it cannot be read.
    """
    with _not_damaged(folder.parent):
        try:
            seal = read_seal(folder)
            if difference := first_difference(seal.arrays, layout(expected)):
                raise UserError(
                    f"checkpoint {folder.parent} is of another model or optimiser: {difference}. It is intact: use the "
                    "config and the version of emi-jax that wrote it, or another --workdir"
                )
            check_files(folder, seal)
        except DamagedError as damage:
            raise DamagedError(f"checkpoint {folder.parent} is damaged: {damage}") from damage


def _restore(folder: Path, expected: Any) -> tuple[Any, Seal]:
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, expected)
    with _not_damaged(folder.parent):
        try:
            arrays = ocp.StandardCheckpointHandler().restore(folder, args=ocp.args.StandardRestore(abstract))
        except ValueError as error:  # how TensorStore reports a disk's errors
            raise OSError(_first_line(error)) from error
        return arrays, read_seal(folder)


@contextlib.contextmanager
def _not_damaged(folder: Path) -> Iterator[None]:
    """Reports in one line why a checkpoint cannot be read, and that it is left in place."""
    try:
        yield
    except (OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        raise UserError(
            f"checkpoint {folder} could not be read: {_first_line(error)}. It was not changed: fix the cause and rerun "
            "the same command"
        ) from error


@contextlib.contextmanager
def _one_line_errors(folder: Path) -> Iterator[None]:
    """Reports in one line why a checkpoint cannot be written."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"a checkpoint could not be written to {folder}: {_first_line(error)}. Earlier checkpoints are intact: fix "
            "the cause and rerun the same command to resume"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
