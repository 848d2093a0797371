"""Periodic actions of a run: log, save, stop, evaluate."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import jax
import numpy as np

from emi_jax.errors import UserError
from emi_jax.progress import progress_bar
from emi_jax.train.checkpoints import Checkpoints, Progress
from emi_jax.train.clock import DATA, STEP, Clock
from emi_jax.train.evaluation import Outputs, Scores
from emi_jax.train.seeds import Best
from emi_jax.train.signals import StoppedError, StopSignal
from emi_jax.train.step import Metrics, TrainState

log = logging.getLogger(__name__)

Record = Callable[[int, dict[str, float]], None]
"""Records the metrics of a step: (step, {name: value})."""


class Scorer(Protocol):
    """Scores parameters on a split, as an `Evaluator` does."""

    @property
    def split(self) -> str:
        """The name of the split."""

    def run(self, params: dict, progress: bool = False) -> tuple[list[Scores], Outputs]:
        """The scores of each seed, and the scored outputs."""


class Hook(Protocol):
    """Called after every step."""

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Called when `step` steps are complete; `metrics` are those of the last step, still on the device."""


class NonFiniteError(UserError):
    """A loss or a gradient was not finite."""


@dataclasses.dataclass
class Log:
    """Fetches metrics once per interval, one step late, so that the devices never wait for the host.

    Attributes:
        every: number of steps in an interval.
        steps: number of steps in the whole run.
        first_step: number of steps completed before this start.
        batch_size: number of clips in a step.
        clips: (step, index of a seed) -> the ids of the clips in its batch, for the error message about a loss that is
            not finite; both count from 0.
        learning_rate: the learning rate of each step of the run, in order.
        clock: the clock of the loop.
        record: records the metrics of a step.
        seeds: the seeds trained in parallel, whose metrics are [S]; empty for a single run, whose metrics are [].
        shows: a progress bar, which advances as the devices finish steps.
        seconds_at_peak: gives the seconds that the last step would take at the devices' peak; 0 if that is unknown.
    """

    every: int
    steps: int
    first_step: int
    batch_size: int
    clips: Callable[[int, int], list[str]]
    learning_rate: Sequence[float] | np.ndarray
    clock: Clock
    record: Record
    seeds: Sequence[int] = ()
    shows: bool = True
    seconds_at_peak: Callable[[], float] = float

    def __post_init__(self) -> None:
        self._pending: list[tuple[int, Metrics, float]] = []
        self._bar = progress_bar(
            total=self.steps,
            initial=self.first_step,
            unit="step",
            disable=not self.shows,
            mininterval=1.0,
            dynamic_ncols=True,
        )

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Keeps the metrics; once per interval, fetches those of the previous steps."""
        if step % self.every == 0:
            self.flush()
        self._pending.append((step, metrics, self.seconds_at_peak()))
        if step == self.steps:
            self.flush()
            self._bar.close()

    def flush(self) -> None:
        """Fetches the pending metrics, checks that they are finite and records their mean."""
        if not self._pending:
            return
        steps, on_device, at_peak = zip(*self._pending, strict=True)
        self._pending = []
        with self.clock.measure(STEP):
            fetched = jax.device_get(on_device)
        for step, metrics in zip(steps, fetched, strict=True):
            self._check_finite(step, metrics)
        means = {
            name: np.asarray(np.mean([metrics[name] for metrics in fetched], 0, np.float64)) for name in fetched[0]
        }
        record = {name: float(mean.mean()) for name, mean in means.items()}
        record |= by_seed(self.seeds, means)
        spent = self.clock.lap()
        seconds = (spent[DATA] + spent[STEP]) / len(steps)
        training = self.batch_size / seconds
        timing = {f"seconds_per_step/{part}": total / len(steps) for part, total in spent.items()}
        timing |= {"clips_per_second": training}
        if all(at_peak):
            timing["mfu"] = np.mean(at_peak).item() / seconds
        self.record(steps[-1], record | {"learning_rate": float(self.learning_rate[steps[-1] - 1])} | timing)
        shares = " ".join(f"{part} {seconds / sum(spent.values()):.0%}" for part, seconds in spent.items())
        self._bar.set_postfix_str(f"loss {record['loss']:.4f}, {training:.0f} clips/s, time: {shares}", refresh=False)
        self._bar.update(len(steps))

    def _check_finite(self, step: int, metrics: Metrics) -> None:
        for name in ("loss", "gradient_norm"):
            values = np.atleast_1d(metrics[name])
            for place in np.flatnonzero(~np.isfinite(values)).tolist():
                seed = f" of seed {self.seeds[place]}" if self.seeds else ""
                raise NonFiniteError(
                    f"{name} is {values[place]} at step {step}{seed}, clips "
                    f"{', '.join(self.clips(step - 1, place))}; the checkpoints before it are intact. "
                    "Lower config.train.learning_rate, or look at these clips"
                )


@dataclasses.dataclass
class Save:
    """Saves the state to resume from: periodically, at the end, and before the run stops on a signal.

    Attributes:
        every: number of steps in an interval.
        steps: number of steps in the whole run.
        log: the log of the run.
        checkpoints: where the state is saved.
        rng: the PRNG key of the whole run.
        stop: the stop signal.
    """

    every: int
    steps: int
    log: Log
    checkpoints: Checkpoints
    rng: jax.Array
    stop: StopSignal

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Saves if a save is due, and stops the run if a signal was received."""
        stopped_by = self.stop.received
        if step % self.every == 0 or step == self.steps or stopped_by:
            self.save(step, state)
        self.finish(step, state)
        if stopped_by:
            raise StoppedError(f"stopped by {stopped_by} after step {step}, which is saved")

    def save(self, step: int, state: TrainState) -> None:
        """Saves the state, unless it was already saved at this step."""
        self.log.flush()  # a state after a loss that is not finite is never saved
        self.checkpoints.save(Progress(state, self.rng, step))

    def finish(self, step: int, state: TrainState) -> None:
        """After the last step, saves the final parameters separately, for evaluation."""
        if step == self.steps:
            self.checkpoints.save_final(step, {"params": state.params, "average": state.average})


@dataclasses.dataclass
class Evaluate:
    """Evaluates, records, and keeps the best parameters. Runs after `Save`, so that a signal finds the state saved.

    Attributes:
        every: number of steps in an interval.
        steps: number of steps in the whole run.
        evaluator: evaluates the split by which the best parameters are selected.
        goal: the metric by which they are selected; higher is better.
        shown: the metrics that are logged next to it.
        save: the `Save` hook of the run.
        best: the best parameters so far.
        record: records the metrics of a step.
        seeds: the seeds trained in parallel; empty for a single run.
        shows: a progress bar.
    """

    every: int
    steps: int
    evaluator: Scorer
    goal: str
    shown: Sequence[str]
    save: Save
    best: Best
    record: Record
    seeds: Sequence[int] = ()
    shows: bool = True

    def __call__(self, step: int, state: TrainState, metrics: Metrics) -> None:
        """Evaluates at the end of an interval and of the run."""
        if self.is_due(step):
            self.save.log.flush()
            self.evaluate(step, state)

    def is_due(self, step: int) -> bool:
        """Whether an evaluation follows this step. A run resumed after it cannot know whether it took place."""
        return step > 0 and (step % self.every == 0 or step == self.steps)

    def evaluate(self, step: int, state: TrainState) -> None:
        """Evaluates the state after a step."""
        try:
            scores, _ = self.evaluator.run(state.evaluated, progress=self.shows)
        except StoppedError as stopped:
            self.save.save(step, state)
            raise StoppedError(f"{stopped} in the evaluation after step {step}, which is saved") from stopped
        values = {name: np.array([found.get(name, np.nan) for found in scores]) for name in scores[0]}
        means = {name: float(np.mean(value)) for name, value in values.items() if np.isfinite(value).all()}
        record = means | by_seed(self.seeds, values)
        self.record(step, {f"{self.evaluator.split}/{name}": value for name, value in record.items()})
        is_best = self.best.update(step, state.evaluated_params, [found[self.goal] for found in scores])
        log.info("%s", self._line(step, values, is_best))

    def _line(self, step: int, values: Mapping[str, np.ndarray], is_best: bool) -> str:
        """The metrics [S] that matter, as a line of the log."""
        shown = ", ".join(f"{name} {_over_seeds(values[name])}" for name in (self.goal, *self.shown) if name in values)
        found = f"step {step:,} of {self.steps:,}, {self.evaluator.split}: {shown}"
        return found + (", the best so far" if is_best else "")


def _over_seeds(values: np.ndarray) -> str:
    """The mean of a metric over seeds [S], with its range where there are several."""
    span = f" ({values.min():.3f} to {values.max():.3f} over {len(values)} seeds)" if len(values) > 1 else ""
    return f"{values.mean():.3f}{span}"


def by_seed(seeds: Sequence[int], values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The finite metrics [S] of several seeds, named `seed-0/loss`; empty without seeds."""
    return {
        f"seed-{seed}/{name}": float(array[place])
        for place, seed in enumerate(seeds)
        for name, array in values.items()
        if np.isfinite(array[place])
    }
