"""The folder of a run: its config, its dataset, and its metrics as JSON lines and in the run's loggers.

`write_config` decides whether a changed config may resume a run, by the `bindings` of `configs/fields.py`.
"""

import contextlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from PIL.Image import Image

from emi_jax.errors import UserError
from emi_jax.files import lock, read_json, write_json
from emi_jax.inputs.dataset import Dataset
from emi_jax.loggers.registry import TENSORBOARD, Loggers
from emi_jax.runs.weights import is_exported
from emi_jax.train.processes import succeed_together
from emi_jax.train.signals import StoppedError

log = logging.getLogger(__name__)


class Workdir:
    """The folder of a run. Only the first process writes.

    Attributes:
        path: the folder.
        output: where results are written, by default the same folder.
    """

    def __init__(
        self,
        path: str | Path,
        writes: bool = True,
        output: str | Path | None = None,
        loggers: Sequence[str] = (TENSORBOARD,),
    ):
        """Opens the folder without writing to it, so that a trained run may be on a read-only disk.

        Args:
            path: path of the folder, which need not exist.
            writes: whether this process is the one that writes.
            output: another folder for results.
            loggers: names of the run's loggers.
        """
        self.path = Path(path).absolute()
        self.output = Path(output or path).absolute()
        self._writes = writes
        self._loggers = Loggers(loggers if writes else (), self.path, self.output)

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Makes the folder and locks out other training runs until the block or the process ends.

        Raises:
            UserError: the folder holds an exported model, cannot be made or written, or another run is being trained in
                it.
        """
        if is_exported(self.path):
            raise UserError(f"{self.path} holds an exported model, which is not trained further: use another --workdir")
        with contextlib.ExitStack() as held:

            def make_and_lock() -> None:
                if self._writes:
                    with _writing(self.path):
                        self.path.mkdir(parents=True, exist_ok=True)
                        held.enter_context(lock(self.path))

            succeed_together(make_and_lock)
            yield

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Stores the run's config, or checks that it equals the config with which the run was started.

        A field that names a folder may name another one; what is read from it checks the content.

        Raises:
            UserError: fields that may not change (`configs/fields.py`) differ from those of the run in the folder.
        """
        free = (*config["bindings"]["free"], "bindings")
        places = config["bindings"]["places"]

        def differs(field: str, before: Any, now: Any) -> bool:
            moved = field in places and bool(before) == bool(now)
            return not within(field, free) and not moved

        self._compare(config, differs, "Use another --workdir")
        self.write_json("config.json", config)

    def check_use(self, config: Mapping[str, Any]) -> None:
        """Checks that a config that uses a trained run reads and models clips as the run's own config does.

        Raises:
            UserError: fields differ from those of the run in the folder.
        """
        self._compare(
            config,
            lambda field, *_: within(field, config["bindings"]["model"]),
            "Use it with the config and preset with which it was trained",
        )

    def write_dataset(self, dataset: Dataset) -> None:
        """Stores the metadata of the run's dataset, or checks that they equal the stored metadata.

        Raises:
            UserError: the folder holds a run on another dataset.
        """
        self._compare_dataset(dataset, dataset.description().keys(), "Use that dataset, or another --workdir")
        self.write_json("dataset.json", dataset.description())

    def check_dataset(self, dataset: Dataset) -> None:
        """Checks that the labels of a dataset are those that a trained run predicts.

        Raises:
            UserError: their names, order or range differ.
        """
        self._compare_dataset(dataset, ("label_names", "label_range"), "Use a dataset with the labels of the run")

    def _compare_dataset(self, dataset: Dataset, fields: Collection[str], advice: str) -> None:
        path = self.path / "dataset.json"
        if not path.exists():
            return
        before, now = read_json(path), json.loads(json.dumps(dataset.description()))
        for field in fields:
            if before.get(field) != now[field]:
                what = field.replace("_", " ")
                raise UserError(
                    f"workdir {self.path} holds a run on another dataset: its {what} was "
                    f"{before.get(field, 'absent')!r}, that of {dataset.directory} is {now[field]!r}. {advice}"
                )

    def stored_config(self) -> dict[str, Any]:
        """The config of the run in the folder; empty if there is none."""
        path = self.path / "config.json"
        return read_json(path) if path.exists() else {}

    def _compare(self, config: Mapping[str, Any], counts: Callable[[str, Any, Any], bool], advice: str) -> None:
        if not (stored := self.stored_config()):
            return
        before, now = _flat(stored), _flat(json.loads(json.dumps(config)))
        differing = [
            f"{field} was {before.get(field, 'absent')!r}, is {now.get(field, 'absent')!r}"
            for field in sorted(before.keys() | now.keys())
            if before.get(field) != now.get(field) and counts(field, before.get(field), now.get(field))
        ]
        if differing:
            raise UserError(f"workdir {self.path} holds a run of another config: {'; '.join(differing)}. {advice}")

    def make_output(self) -> None:
        """Makes the output folder, so that one that cannot be written is reported before anything is computed.

        Raises:
            UserError: the folder cannot be made or written.
        """
        if self._writes:
            with _writing(self.output):
                self.output.mkdir(parents=True, exist_ok=True)
                tempfile.TemporaryFile(dir=self.output).close()

    def write_json(self, name: str, content: Any) -> Path:
        """Writes a JSON file to the output folder, complete or not at all."""
        path = self.output / name
        if self._writes:
            with _writing(self.output):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, content)
        return path

    def record(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends metrics to `metrics.jsonl` and sends them to the loggers."""
        if not self._writes:
            return
        with (self.path / "metrics.jsonl").open("ab+") as file:
            _end_line(file)
            file.write(json.dumps({"step": step, **metrics}).encode() + b"\n")
        self._loggers.log_metrics(step, metrics)

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Sends the run's config to the loggers.

        Raises:
            UserError: a logger cannot be used.
        """
        self._loggers.log_config(config)

    def log_results(self, scores: Mapping[str, float], pictures: Mapping[str, Image]) -> None:
        """Sends final scores, and pictures about them, to the loggers."""
        steps = [int(record["step"]) for record in self.metrics()]
        self._loggers.log_results(max(steps, default=0), scores, pictures)

    @contextlib.contextmanager
    def logging(self) -> Iterator[None]:
        """Closes the loggers when the block ends; a run that was stopped has not failed."""
        failed = True
        try:
            yield
            failed = False
        except StoppedError:
            failed = False
            raise
        finally:
            self._loggers.close(failed)

    def metrics(self) -> list[dict[str, float]]:
        """All recorded metrics, by step; for a step that was repeated after a restart, only the last record.

        Truncated lines are skipped with a warning.
        """
        path = self.path / "metrics.jsonl"
        lines = path.read_text(errors="replace").splitlines() if path.exists() else []
        records: dict[tuple, dict[str, float]] = {}
        for number, line in enumerate(lines, start=1):
            try:
                record = json.loads(line)
                records[(record["step"], frozenset(record))] = record
            except (ValueError, TypeError, KeyError):
                log.warning("%s: line %d is cut off and was skipped: %.60r", path, number, line)
        return sorted(records.values(), key=lambda record: record["step"])


def within(field: str, sections: Collection[str]) -> bool:
    """Whether a dotted field is one of the given fields or sections, or lies in one of them."""
    parts = field.split(".")
    return any(".".join(parts[:length]) in sections for length in range(1, len(parts) + 1))


def without(tree: Mapping[str, Any], fields: Collection[str], prefix: str = "") -> dict[str, Any]:
    """A config's tree without the given dotted fields or sections."""
    return {
        name: without(branch, fields, f"{prefix}{name}.") if isinstance(branch, Mapping) else branch
        for name, branch in tree.items()
        if prefix + name not in fields
    }


def _end_line(file: BinaryIO) -> None:
    """Terminates the last line of a file if a kill or a full disk truncated it."""
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            file.write(b"\n")


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Reports in one line why a folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}; choose another folder") from error


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {prefix: tree}
    return {
        path: leaf for key, branch in tree.items() for path, leaf in _flat(branch, f"{prefix}.{key}".strip(".")).items()
    }
