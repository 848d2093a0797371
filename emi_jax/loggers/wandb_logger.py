"""Weights & Biases."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from PIL.Image import Image

from emi_jax.errors import UserError

PROJECT = "emi-jax"
"""Where WANDB_PROJECT names no other."""


class WandbLogger:
    """A run on Weights & Biases; `WANDB_MODE=offline` keeps it in the workdir, for `wandb sync`."""

    failures = (wandb.Error, OSError)

    def __init__(self, folder: Path, run_id: str, name: str):
        """Starts or resumes a run.

        Args:
            folder: for its files.
            run_id: of the run to resume; "" for a new one.
            name: of a new run.

        Raises:
            UserError: nobody is logged in, or the service cannot be reached.
        """
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=name,
                id=run_id or None,
                resume="allow",
                dir=folder,
                reinit="create_new",  # several runs of one process follow each other
                settings=wandb.Settings(console="off"),
            )
        except wandb.Error as error:
            raise UserError(
                f"config.train.loggers: Weights & Biases cannot be used ({_first_line(error)}); run wandb login, set "
                "WANDB_MODE=offline, or leave it out"
            ) from error
        self._run.define_metric("*", step_metric="step")  # steps that a resumed run repeats are recorded again
        self.run_id = self._run.id

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Sets the run's config."""
        self._run.config.update(dict(config), allow_val_change=True)

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Adds a row to the run's history."""
        self._run.log({"step": step, **metrics})

    def log_results(self, step: int, scores: Mapping[str, float], pictures: Mapping[str, Image]) -> None:
        """Sets the run's summary, and adds its media."""
        self._run.log({"step": step, **{name: wandb.Image(picture) for name, picture in pictures.items()}})
        self._run.summary.update(dict(scores))

    def close(self, failed: bool) -> None:
        """Finishes the run."""
        self._run.finish(exit_code=int(failed))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
