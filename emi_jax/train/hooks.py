"""What happens every so often in a run: log, evaluate, save, stop."""

import dataclasses
import math
import signal
from collections.abc import Callable
from typing import Protocol

import jax
import tqdm
from jax.experimental import multihost_utils

from emi_jax.errors import UserError
from emi_jax.train.checkpoints import Checkpoints, Progress
from emi_jax.train.clock import DATA, STEP, Clock
from emi_jax.train.evaluation import Evaluator
from emi_jax.train.step import Metrics, TrainState

Record = Callable[[int, dict[str, float]], None]
"""Keeps metrics by name, of a step by its number."""


class Hook(Protocol):
    """Called after every step."""

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """`step` steps have been taken; `metrics` are the last one's, still on the device."""


class StoppedError(Exception):
    """The run was asked to stop; its state is saved."""


class NonFiniteError(UserError):
    """A loss or a gradient was not finite."""


@dataclasses.dataclass
class Log:
    """Fetches metrics once an interval and a step late, so that the devices never wait for the host.

    Attributes:
        every: steps of an interval.
        steps: of the whole run.
        clips: steps -> the ids of the clips in a step's batch, for the message about a loss that is not finite.
        schedule: steps -> learning rate, computed on the host.
        clock: of the loop.
        record: keeps the metrics of a step.
        shows: a progress bar, which moves with what the devices have finished.
    """

    every: int
    steps: int
    first_step: int
    batch_size: int
    clips: Callable[[int], list[str]]
    schedule: Callable[[int], float]
    clock: Clock
    record: Record
    shows: bool = True

    def __post_init__(self) -> None:
        self._pending: list[tuple[int, Metrics]] = []
        self._bar = tqdm.tqdm(
            total=self.steps,
            initial=self.first_step,
            unit="step",
            disable=not self.shows,
            mininterval=1.0,
            dynamic_ncols=True,
        )

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Keeps the metrics; fetches those of the steps before once an interval."""
        if step % self.every == 0:
            self.flush()
        self._pending.append((step, metrics))
        if step == self.steps:
            self.flush()
            self._bar.close()

    def flush(self) -> None:
        """Fetches what is pending, checks that it is finite and records its mean."""
        if not self._pending:
            return
        steps, on_device = zip(*self._pending, strict=True)
        self._pending = []
        with self.clock.measure(STEP):
            fetched = jax.device_get(on_device)
        for step, metrics in zip(steps, fetched, strict=True):
            for name in ("loss", "gradient_norm"):
                if not math.isfinite(metrics[name]):
                    raise NonFiniteError(
                        f"{name} is {metrics[name]} at step {step}, clips {', '.join(self.clips(step - 1))}; "
                        "the checkpoints before it are intact. Lower config.train.learning_rate, or look at these clips"
                    )
        mean = {name: sum(float(metrics[name]) for metrics in fetched) / len(fetched) for name in fetched[0]}
        spent = self.clock.lap()
        training = self.batch_size * len(steps) / (spent[DATA] + spent[STEP])
        timing = {f"seconds_per_step/{part}": seconds / len(steps) for part, seconds in spent.items()}
        timing |= {"clips_per_second": training}
        self.record(steps[-1], mean | {"learning_rate": self.schedule(steps[-1])} | timing)
        shares = " ".join(f"{part} {seconds / sum(spent.values()):.0%}" for part, seconds in spent.items())
        self._bar.set_postfix_str(f"loss {mean['loss']:.4f}, {training:.0f} clips/s, time: {shares}", refresh=False)
        self._bar.update(len(steps))


@dataclasses.dataclass
class Evaluate:
    """Evaluates, records and keeps the best state."""

    every: int
    steps: int
    evaluator: Evaluator
    goal: str
    log: Log
    checkpoints: Checkpoints
    record: Record

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Evaluates at the end of an interval and of the run."""
        if step % self.every and step != self.steps:
            return
        self.log.flush()
        scores, _ = self.evaluator.run(state.evaluated)
        self.record(step, {f"{self.evaluator.split}/{name}": value for name, value in scores.items()})
        self.checkpoints.save_best(step, state.evaluated_params, scores[self.goal])


@dataclasses.dataclass
class Save:
    """Saves the state to go on from: every so often, at the end, and before the run stops on a signal."""

    every: int
    steps: int
    log: Log
    checkpoints: Checkpoints
    rng: jax.Array
    stop: "StopSignal"

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Saves where it is time to, and stops the run when a signal has come."""
        stopped_by = self.stop.at(step)
        if step % self.every == 0 or step == self.steps or stopped_by:
            self.log.flush()  # a state after a loss that is not finite is never saved
            self.checkpoints.save(Progress(state, self.rng, step))
        if stopped_by:
            raise StoppedError(f"stopped by {stopped_by} after step {step}, which is saved")


class StopSignal:
    """Within the context, SIGTERM and SIGINT are remembered and not obeyed at once.

    Several processes get a signal each at its own moment, and must stop after the same step: they agree on one by
    JAX's preemption service, which listens to SIGTERM by itself.
    """

    _received = ""

    def __enter__(self) -> "StopSignal":
        heard = (signal.SIGTERM, signal.SIGINT) if jax.process_count() == 1 else ()
        self._before = {number: signal.signal(number, self._remember) for number in heard}
        return self

    def at(self, step: int) -> str:
        """The signal that stops the run after this step, or nothing; to be asked once after every step."""
        if jax.process_count() == 1:
            return self._received
        return signal.SIGTERM.name if multihost_utils.reached_preemption_sync_point(step) else ""

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: object) -> None:
        self._received = signal.Signals(number).name
