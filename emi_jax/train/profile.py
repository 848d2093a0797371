"""A trace of a few steps for Perfetto and TensorBoard."""

import dataclasses
import logging
from pathlib import Path

import jax

from emi_jax.train.step import Metrics, TrainState

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Profile:
    """Traces steps, the first one left out: it is compiled.

    Attributes:
        count: of the steps; 0 traces none.
        after: the step that is left out.
        folder: where the trace goes.
    """

    count: int
    after: int
    folder: Path

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Begins and ends the trace, each when the devices have finished the step."""
        if not self.count or step not in (self.after, self.after + self.count):
            return
        jax.block_until_ready(metrics)
        if step == self.after:
            jax.profiler.start_trace(self.folder)
        else:
            jax.profiler.stop_trace()
            log.info("trace of %d steps: tensorboard --logdir=%s, or ui.perfetto.dev", self.count, self.folder)
