"""The loggers of a run by name. The packages of those that are not chosen need not be installed."""

import importlib.util
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image

from emi_jax.errors import UserError
from emi_jax.files import read_json, write_json
from emi_jax.loggers.logger import Logger

TENSORBOARD, WANDB, MLFLOW = NAMES = ("tensorboard", "wandb", "mlflow")
FIELD = "config.train.loggers"
IDS = "loggers.json"
"""In the folder of a run: what services call it."""

log = logging.getLogger(__name__)


def check_loggers(names: Sequence[str]) -> None:
    """Checks that loggers can be used.

    Raises:
        UserError: an unknown name, one that is named twice, or a package that is not installed.
    """
    for name in names:
        if name not in NAMES:
            raise UserError(f"{FIELD}={tuple(names)}: there is no logger {name!r}; choose some of {', '.join(NAMES)}")
        if names.count(name) > 1:
            raise UserError(f"{FIELD}={tuple(names)} names {name} twice; give the whole tuple once")
        if name != TENSORBOARD and importlib.util.find_spec(name) is None:
            raise UserError(
                f"{FIELD} names {name!r}, whose package is not installed: pip install -r requirements-loggers.txt, or "
                "leave it out"
            )


class Loggers:
    """The loggers of a run, opened at their first use."""

    def __init__(self, names: Sequence[str], folder: Path, output: Path):
        """Opens nothing yet.

        Args:
            names: some of `NAMES`.
            folder: of the run, which knows what services call it.
            output: folder for what is recorded.
        """
        self._names, self._folder, self._output = tuple(names), folder, output
        self._opened: dict[str, Logger] | None = None

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Records the config of the run when it starts or resumes."""
        self._each(lambda logger: logger.log_config(config))
        ids = {name: logger.run_id for name, logger in (self._opened or {}).items() if logger.run_id}
        if ids and ids != self._ids():
            write_json(self._folder / IDS, ids)

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Records metrics of a training step."""
        self._each(lambda logger: logger.log_metrics(step, metrics))

    def log_results(self, step: int, scores: Mapping[str, float], pictures: Mapping[str, Image]) -> None:
        """Records final scores and pictures."""
        self._each(lambda logger: logger.log_results(step, scores, pictures))

    def close(self, failed: bool = False) -> None:
        """Closes those that are open; they open again when they are used."""
        if self._opened:
            self._each(lambda logger: logger.close(failed))
        self._opened = None

    def _each(self, action: Callable[[Logger], None]) -> None:
        if self._opened is None:
            check_loggers(self._names)
            ids = self._ids()
            self._opened = {name: self._open(name, ids.get(name, "")) for name in self._names}
        for name, logger in self._opened.items():
            try:
                action(logger)
            except logger.failures as error:
                log.warning("%s: something was not recorded (%s); the run continues", name, error)

    def _open(self, name: str, run_id: str) -> Logger:
        self._output.mkdir(parents=True, exist_ok=True)
        if name == WANDB:
            from emi_jax.loggers.wandb_logger import WandbLogger

            return WandbLogger(self._output, run_id, self._folder.name)
        if name == MLFLOW:
            from emi_jax.loggers.mlflow_logger import MlflowLogger

            return MlflowLogger(run_id, self._folder.name)
        from emi_jax.loggers.tensorboard_logger import TensorBoardLogger  # imports torch if torch is installed

        return TensorBoardLogger(self._output)

    def _ids(self) -> dict[str, str]:
        path = self._folder / IDS
        return {name: str(run_id) for name, run_id in read_json(path).items()} if path.exists() else {}
