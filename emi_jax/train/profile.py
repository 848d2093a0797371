"""A trace of a few steps for Perfetto and TensorBoard."""

import dataclasses
import logging
from pathlib import Path

import jax

from emi_jax.train.step import Metrics, TrainState

log = logging.getLogger(__name__)


@dataclasses.dataclass
class Profile:
    """Traces a few steps after the first, which is skipped because it includes compilation.

    Attributes:
        count: number of steps to trace; 0 for none.
        after: the step that is skipped.
        steps: number of steps in the run; the trace ends with the run at the latest.
        folder: where the trace is written.
    """

    count: int
    after: int
    steps: int
    folder: Path

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Starts or stops the trace, once the devices have finished the step."""
        last = min(self.after + self.count, self.steps)
        if self.after >= last or step not in (self.after, last):
            return
        jax.block_until_ready(metrics)
        if step == self.after:
            jax.profiler.start_trace(self.folder, profiler_options=without_python())
        else:
            jax.profiler.stop_trace()
            traced = last - self.after
            log.info("trace of %d steps: tensorboard --logdir=%s, or ui.perfetto.dev", traced, self.folder)


def without_python() -> jax.profiler.ProfileOptions:
    """Options of a trace without every call of the host's Python, which takes seconds to write and slows the host."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    return options
