"""Trains a run from its last checkpoint, or from the start, to the end; with one seed or several in parallel."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from joblib import cpu_count

from emi_jax.encoders.sources import INITIAL, TRAINED, Encoders
from emi_jax.errors import UserError
from emi_jax.inputs.augmentation import Augmentation
from emi_jax.inputs.loader import batches, to_device
from emi_jax.inputs.sampling import Epochs
from emi_jax.inputs.transforms import Arrays
from emi_jax.loggers.registry import check_loggers
from emi_jax.modalities import MODALITIES
from emi_jax.runs.balance import balanced
from emi_jax.runs.checks import check_clips, check_shares, interval
from emi_jax.runs.evaluation import CHECKPOINTS, evaluator, member_seeds, stored_config
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import cached_part, inputs
from emi_jax.runs.lengths import length_buckets
from emi_jax.runs.probe import SHOWN, probed
from emi_jax.runs.standardisation import choice, clean_training_clips, standardised
from emi_jax.train import parameters
from emi_jax.train.averaging import averaging
from emi_jax.train.checkpoints import Checkpoints, Progress
from emi_jax.train.clock import Clock
from emi_jax.train.hooks import Evaluate, Hook, Log, Save
from emi_jax.train.loop import fit
from emi_jax.train.mapping import REPLICATED, SHARDED
from emi_jax.train.optimizer import make_optimizer, schedule
from emi_jax.train.processes import is_first
from emi_jax.train.profile import Profile
from emi_jax.train.programs import Programs
from emi_jax.train.seeds import INIT, STEP, Best, key, stacked, vectorised_step
from emi_jax.train.signals import StopSignal, stop_if_signalled
from emi_jax.train.step import create_state, make_step
from emi_jax.train.utilisation import peak_flops

log = logging.getLogger(__name__)


def train(experiment: Experiment, seeds: Sequence[int] = ()) -> None:
    """Trains from the last checkpoint, or from the start, to the end.

    Args:
        experiment: the run.
        seeds: S seeds trained in parallel, which replace `config.train.seed`. They share the frozen parameters, and
            their trained parameters are [S, ...] in the checkpoints. If empty, those of `config.train.members`.

    Raises:
        UserError: the config cannot be trained; the folder is then left unchanged.
        StoppedError: a stop signal was received; the state is saved.
    """
    check_training(experiment)
    with experiment.workdir.training(), experiment.workdir.logging():
        _train(experiment, tuple(seeds) or member_seeds(experiment.config), is_study=bool(seeds))


def _train(experiment: Experiment, seeds: Sequence[int], is_study: bool) -> None:
    config, workdir = experiment.config.train, experiment.workdir
    used = tuple(seeds) or (config.seed,)
    buckets = length_buckets(experiment, "train", Augmentation(**experiment.config.augment))
    if buckets:
        log.info("length buckets: %s", buckets)
    plans = [Epochs(len(experiment.dataset.split("train")), config.batch_size, seed, buckets) for seed in used]
    epoch = plans[0].steps
    steps = config.epochs * epoch
    log_every = interval(config, "log_every", 1)
    evaluate_every, save_every = (interval(config, name, epoch) for name in ("evaluate_every", "save_every"))
    learning_rate = schedule(config.learning_rate, config.final_rate, round(config.warmup_epochs * epoch), steps)
    optimizer, progress = _begin(experiment, learning_rate, seeds)

    check_origin(experiment)
    choice(experiment)  # raises where features that change would be standardised
    # Nothing is written before now, when every check of the config has passed.
    workdir.write_config(stored_config(experiment.config, seeds))
    workdir.write_dataset(experiment.dataset)
    workdir.log_config({name: part for name, part in experiment.config.to_dict().items() if name != "bindings"})
    examples, transform = inputs(experiment, "train", augment=True)
    experiment = standardised(experiment, clean_training_clips(experiment, cached_part(examples)))
    experiment = balanced(experiment)
    peak = peak_flops(experiment.mapping.devices[0].device_kind, experiment.config.model.dtype)
    mapped = _mapped_step(experiment, optimizer, steps, vectorised=bool(seeds))
    step = Programs(mapped, "step", counts=peak is not None)
    counts = [parameters.count(tree) for tree in (progress.state.params, progress.state.frozen)]
    log.info("parameters: %s trained, %s frozen", *(f"{count:,}" for count in counts))
    if not is_study:
        _save_initial(experiment, progress)
    valid = probed(experiment, evaluator(experiment, "valid", len(seeds)), examples)
    checkpoints = Checkpoints(workdir.path / CHECKPOINTS, config.keep)
    best = Best(checkpoints, progress.state.evaluated_params, len(seeds))
    state, rng, first_step = checkpoints.restore_last(progress) or progress
    del progress  # otherwise a resumed run would keep its first state in memory to the end
    log.info("%s: step %d of %d", "resumed" if first_step else "training from the start", first_step, steps)

    def host_batches(plan: Epochs, seed: int) -> Iterator[Arrays]:
        return batches(
            examples,
            transform,
            plan,
            seed=seed,
            first_step=first_step,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            threads=max(1, (experiment.config.data.threads or cpu_count()) // len(used)),
        )

    streams = [host_batches(plan, seed) for plan, seed in zip(plans, used, strict=True)]
    source = to_device(stacked(streams) if seeds else streams[0], experiment.mapping.put)
    clock = Clock()
    hook_log = Log(
        every=log_every,
        steps=steps,
        first_step=first_step,
        batch_size=config.batch_size * len(used),
        clips=lambda number, place: experiment.clip_ids("train", plans[place].batch(number)),
        learning_rate=np.asarray(learning_rate(np.arange(steps))),  # on the host: logging costs the devices nothing
        clock=clock,
        record=workdir.record,
        seeds=seeds,
        shows=is_first(),
        seconds_at_peak=lambda: step.operations / peak if peak else 0.0,
    )
    profile = Profile(config.profile, first_step + 1, steps, workdir.path / "trace")
    try:
        stop_if_signalled()  # before the first step, which would first be compiled
        with StopSignal() as stop:
            save = Save(save_every, steps, hook_log, checkpoints, rng, stop)
            goal = experiment.stage.goal
            shown, record = (SHOWN,), workdir.record
            evaluate = Evaluate(evaluate_every, steps, valid, goal, shown, save, best, record, seeds, is_first())
            if evaluate.is_due(first_step):  # it may have stopped before or after that evaluation
                evaluate.evaluate(first_step, state)
            save.finish(first_step, state)
            hooks: list[Hook] = [profile, hook_log, save, evaluate]
            state = fit(step, state, source, rng, hooks, clock, first_step=first_step, steps=steps)
    finally:
        checkpoints.close()
    log.info("parameters sha256:%s", parameters.fingerprint(jax.device_get(state.params)))


def check_training(experiment: Experiment) -> None:
    """Checks that the loggers, the batch size and the dataset are suitable for training.

    Raises:
        UserError: a logger is not available, the devices cannot share a batch evenly, a split is missing, or no clip
            has the modalities or labels on which the stage is trained.
    """
    config = experiment.config.train
    check_loggers(config.loggers)
    check_shares(config.batch_size, experiment.mapping.num_devices, config.accumulation)
    check_clips(experiment.dataset, experiment.config.stage, experiment.transform.shape.modalities)


def check_origin(experiment: Experiment) -> None:
    """Checks that a stage-1 result that was moved after the run had started still holds the same encoders.

    If the result was deleted, nothing is checked: the run has its own copy of the encoders that it started from.

    Raises:
        UserError: `config.init_from` names other encoders than those that the run started from.
    """
    config, workdir = experiment.config, experiment.workdir
    before, now = workdir.stored_config().get("init_from", ""), config.init_from
    if not before or not now or before == now or not (Path(now) / TRAINED).is_dir():
        return
    log.info("init_from was %s, is %s: comparing its encoders with the run's own", before, now)
    if _identity(experiment.reopen_encoders()) != _identity(experiment.encoders):
        raise UserError(
            f"workdir {workdir.path} holds a run of another config: init_from was {before!r}, is {now!r}, and the "
            "encoders there are not those that the run started from. Use another --workdir"
        )


def _identity(encoders: Encoders) -> tuple[str, dict[str, str]]:
    """A hash of the weights of encoders, and their configs and preprocessing."""
    return parameters.fingerprint(encoders.params), encoders.preprocessing


def _begin(
    experiment: Experiment, learning_rate: optax.Schedule, seeds: Sequence[int]
) -> tuple[optax.GradientTransformation, Progress]:
    """The optimiser, and the progress from which a run starts."""
    config = experiment.config.train
    trained, frozen = experiment.initial_params()
    optimizer = make_optimizer(
        trained,
        learning_rate,
        kind=config.optimizer,
        weight_decay=config.weight_decay,
        clip_norm=config.clip_norm,
        rate_factors=rate_factors(experiment),
        layer_decay=config.layer_decay,
    )
    rng, averaged = key(config.seed, STEP), bool(config.ema or config.swa)
    if seeds:
        rng = jnp.stack([key(seed, STEP) for seed in seeds])
        trained = _init_seeds(experiment, seeds)
        state = jax.vmap(lambda params: create_state(params, {}, optimizer, averaged))(trained)
        state = state.replace(frozen=frozen)
    else:
        state = create_state(trained, frozen, optimizer, averaged)
    state, rng = experiment.mapping.replicate((state, rng))
    return optimizer, Progress(state, rng, batches=0)


def rate_factors(experiment: Experiment) -> list[tuple[str, float]]:
    """The factors of the config without patterns that name a modality which is not in use."""
    unused = set(MODALITIES) - set(experiment.transform.shape.modalities)
    kept = []
    for pattern, factor in experiment.config.train.rate_factors:
        if any(name in pattern for name in unused):
            log.info("train.rate_factors: %r is left out: the modality is not in use", pattern)
        else:
            kept.append((pattern, factor))
    return kept


def _mapped_step(
    experiment: Experiment, optimizer: optax.GradientTransformation, steps: int, vectorised: bool
) -> Callable:
    config = experiment.config.train
    average = averaging(config.ema, config.swa, steps)
    step = make_step(experiment.stage, optimizer, average, config.accumulation)
    if vectorised:
        step = vectorised_step(step)
    return experiment.mapping.map(step, (REPLICATED, SHARDED, REPLICATED), donate=(0,))


def _init_seeds(experiment: Experiment, seeds: Sequence[int]) -> Any:
    """The trained parameters of several seeds, [S, ...]; each equals `Experiment.initial_params` with its seed."""

    def init(rng: jax.Array, loaded: dict) -> Any:
        return experiment.split(experiment.stage.init(rng, loaded))[0]

    rngs = jnp.stack([key(seed, INIT) for seed in seeds])
    return jax.jit(jax.vmap(init, in_axes=(0, None)))(rngs, experiment.encoders.params)


def _save_initial(experiment: Experiment, progress: Progress) -> None:
    """Saves the encoders that the run starts from in its folder, once."""
    folder = experiment.workdir.path / INITIAL
    if is_first() and not folder.exists():
        experiment.encoders.save(folder, jax.device_get(progress.state.evaluated.get("towers", {})))
