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
        steps: of the run; a trace ends with it.
        folder: where the trace goes.
    """

    count: int
    after: int
    steps: int
    folder: Path

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Begins and ends the trace, each when the devices have finished the step."""
        last = min(self.after + self.count, self.steps)
        if self.after >= last or step not in (self.after, last):
            return
        jax.block_until_ready(metrics)
        if step == self.after:
            jax.profiler.start_trace(self.folder)
        else:
            jax.profiler.stop_trace()
            traced = last - self.after
            log.info("trace of %d steps: tensorboard --logdir=%s, or ui.perfetto.dev", traced, self.folder)
