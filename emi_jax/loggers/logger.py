"""What a run expects of a logger."""

from collections.abc import Mapping
from typing import Any, Protocol

from PIL.Image import Image


class Logger(Protocol):
    """Records one run."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """Errors of its service, which do not stop the run."""

    @property
    def run_id(self) -> str:
        """What its service calls the run, "" if nothing: it resumes the run with this id."""

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Records the config of the run, a tree of sections."""

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Records metrics of a training step, at most once per interval of the log."""

    def log_results(self, step: int, scores: Mapping[str, float], pictures: Mapping[str, Image]) -> None:
        """Records the final scores, those of the parameters after `step`, and the pictures about them."""

    def close(self, failed: bool) -> None:
        """Sends what is not sent yet; `failed` says whether an error ends the run."""
