"""MLflow: the server or store in MLFLOW_TRACKING_URI, or MLflow's default."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import mlflow
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from PIL.Image import Image

from emi_jax.errors import UserError

EXPERIMENT = "emi-jax"
"""Where MLFLOW_EXPERIMENT_NAME names no other."""
PARAMS, LONGEST = 100, 500
"""Parameters in a request, and characters of a value, that every MLflow server takes."""


class MlflowLogger:
    """A run in an MLflow tracking store."""

    failures = (MlflowException, OSError)

    def __init__(self, run_id: str, name: str):
        """Starts or resumes a run.

        Args:
            run_id: of the run to resume; "" for a new one.
            name: of a new run.

        Raises:
            UserError: the store cannot be reached or written.
        """
        try:
            self._client = mlflow.MlflowClient()
            self._is_new = not run_id
            self.run_id = run_id or self._create(name)
            self._client.update_run(self.run_id, "RUNNING")
        except self.failures as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"config.train.loggers: MLflow cannot be used at {mlflow.get_tracking_uri()} ({first}); set "
                "MLFLOW_TRACKING_URI to the address of a server, or leave it out"
            ) from error

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Sets the parameters of a new run: MLflow's cannot change."""
        if self._is_new:
            params = [Param(_key(name), str(value)[:LONGEST]) for name, value in _fields(config)]
            for start in range(0, len(params), PARAMS):
                self._client.log_batch(self.run_id, params=params[start : start + PARAMS])

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Records metrics in one request."""
        now = int(1000 * time.time())
        found = [Metric(_key(name), value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self.run_id, metrics=found)

    def log_results(self, step: int, scores: Mapping[str, float], pictures: Mapping[str, Image]) -> None:
        """Records metrics, and pictures as artifacts."""
        for name, picture in pictures.items():
            self._client.log_image(self.run_id, picture, f"{_key(name)}.png")
        self.log_metrics(step, scores)

    def close(self, failed: bool) -> None:
        """Ends the run."""
        self._client.set_terminated(self.run_id, "FAILED" if failed else "FINISHED")

    def _create(self, name: str) -> str:
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(title)
        number = found.experiment_id if found else self._client.create_experiment(title)
        return self._client.create_run(number, run_name=name).info.run_id


def _fields(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _key(name: str) -> str:
    """MLflow rejects other characters."""
    return re.sub(r"[^-/. \w]", "_", name)
