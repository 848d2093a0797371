"""TensorBoard events, without TensorFlow."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorboardX
from PIL.Image import Image


class TensorBoardLogger:
    """Writes events to a folder."""

    failures = ()
    run_id = ""

    def __init__(self, folder: Path):
        """Opens `folder`/events."""
        self._writer = tensorboardX.SummaryWriter(str(folder / "events"))

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Shows the config as text."""
        lines = json.dumps(config, indent=2, default=list).splitlines()
        self._writer.add_text("config", "\n".join(f"    {line}" for line in lines))  # a block of code in Markdown
        self._writer.flush()

    def log_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes scalars."""
        for name, value in metrics.items():
            self._writer.add_scalar(_tag(name), value, step)
        self._writer.flush()

    def log_results(self, step: int, scores: Mapping[str, float], pictures: Mapping[str, Image]) -> None:
        """Writes scalars and images."""
        for name, picture in pictures.items():
            self._writer.add_image(_tag(name), np.asarray(picture), step, dataformats="HWC")
        self.log_metrics(step, scores)

    def close(self, failed: bool) -> None:
        """Closes the file."""
        self._writer.close()


def _tag(name: str) -> str:
    """TensorBoard rejects other characters."""
    return re.sub(r"[^-/.\w]", "_", name)
