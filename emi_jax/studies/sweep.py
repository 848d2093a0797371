"""A sweep: one run of stage 2 for each setting and seed, ranked on the validation split.

A run is an ordinary run in `runs/NAME`, which can be evaluated and predicts like any other. A finished one keeps its
outputs for the validation split in `valid.safetensors`, so that an interrupted sweep resumes in the middle of a run.
Several processes may do runs of one sweep at the same time. The test split is scored for the chosen setting and the
config's own, and chooses nothing.
"""

import dataclasses
import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.files import lock, read_tensors, whole_file, write_tensors
from emi_jax.inputs.dataset import Dataset
from emi_jax.inputs.regrouped import join_for_training
from emi_jax.runs.evaluation import chosen_params, evaluator, stored_config
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.results import Summary
from emi_jax.runs.scores import Outputs
from emi_jax.runs.training import train
from emi_jax.runs.workdir import Workdir
from emi_jax.studies import sweep_scores
from emi_jax.studies.parts import Part
from emi_jax.studies.search import OWN, Setting, settings
from emi_jax.studies.sweep_scores import PARAMETERS, Scored
from emi_jax.studies.variants import changed
from emi_jax.train import parameters

KEPT = ("predictions", "labels", "label_mask", "clip")
"""The outputs that are kept."""
CHOOSING, HELD_OUT = "valid", "test"
"""The split that chooses the setting, and the split that does not."""

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
        setting: the setting.
        config: of the run: a config of stage 2, whose workdir is the run's folder.
    """

    setting: Setting
    config: ConfigDict

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return Path(self.config.workdir)

    def is_done(self) -> bool:
        """Whether the run is complete."""
        return _kept(self, CHOOSING).exists()


def runs(config: ConfigDict) -> list[Run]:
    """The runs of a sweep, in order: all seeds of a setting, then those of the next.

    Raises:
        UserError: the fields of the sweep cannot be searched, or a run would be trained on the split that chooses.
    """
    seeds = tuple(config.sweep.seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise UserError(f"config.sweep.seeds={seeds}: expected one seed or more, each once")
    found = []
    for setting in settings(config):
        for seed in seeds:
            path = Path(config.workdir) / "runs" / f"{setting.name}-{seed}"
            changes = {**setting.changes, "train.seed": seed, "workdir": str(path)}
            run = Run(setting, changed(config, changes.items(), OWN, f"setting {setting.name}"))
            if CHOOSING in run.config.data.train_on:
                raise UserError(
                    f"config.data.train_on={tuple(run.config.data.train_on)}: a sweep chooses by the scores on "
                    f"{CHOOSING}, whose clips may not be trained on"
                )
            found.append(run)
    return found


def parts(config: ConfigDict, dataset: Dataset, devices: Sequence[jax.Device] | None = None) -> list[Part]:
    """The runs of a sweep; errors as for `runs`."""
    return [
        Part(
            each.path.name,
            each.is_done,
            functools.partial(run_one, each, dataset, devices),
            functools.partial(check_started, [each], dataset),
        )
        for each in runs(config)
    ]


def run(
    config: ConfigDict, dataset: Dataset, devices: Sequence[jax.Device] | None = None
) -> tuple[Summary, ConfigDict]:
    """Does the missing runs one after the other, then ranks the settings and scores the best one on the test split.

    A setting of which a run fails, such as one whose loss is not finite, is listed with the reason; the other runs are
    done. The config's own setting may not fail.

    Args:
        config: a config of stage 2, with `sweep`: `fields`, `samples`, `seed` and `seeds`.
        dataset: the dataset.
        devices: all devices by default.

    Returns:
        The summary, and the config of the best setting's first run.

    Raises:
        UserError: the sweep cannot be searched, its folder holds runs of another config, or the config's own setting
            cannot be trained.
    """
    planned = runs(config)
    failures: dict[str, tuple[Setting, str]] = {}
    check_started(planned, dataset)
    for number, each in enumerate(planned, start=1):
        what = sweep_scores.described(each.setting)
        log.info("\nrun %d of %d, %s: %s", number, len(planned), each.path.name, what)
        try:
            run_one(each, dataset, devices)
        except UserError as error:
            if not each.setting.changes:
                raise
            log.warning("%s failed: %s", each.path.name, error)
            failures.setdefault(each.setting.name, (each.setting, str(error)))
    done: dict[str, list[Run]] = {}
    for each in planned:
        if each.setting.name not in failures:
            done.setdefault(each.setting.name, []).append(each)
    ranked = sweep_scores.rank([_scored(group, dataset, CHOOSING, devices) for group in done.values()])
    chosen = [scored for scored in ranked if scored is ranked[0] or not scored.setting.changes]
    tested = {}
    if HELD_OUT in dataset.splits and not dataset.lacks(HELD_OUT, "labels"):
        tested = {each.setting.name: _scored(done[each.setting.name], dataset, HELD_OUT, devices) for each in chosen}
    failed = list(failures.values())
    summary = sweep_scores.write(Path(config.workdir), ranked, tested, failed, CHOOSING, HELD_OUT)
    return summary, done[ranked[0].setting.name][0].config


def run_one(run: Run, dataset: Dataset, devices: Sequence[jax.Device] | None = None) -> None:
    """Does a run unless it is complete; waits for another process that is doing it.

    Raises:
        UserError: the run cannot be trained, or its loss is not finite.
    """
    check_started([run], dataset)
    log_folder(run).mkdir(parents=True, exist_ok=True)
    with lock(log_folder(run), wait=True):
        if run.is_done():
            log.info("already done")
        else:
            experiment = Experiment.open(run.config, dataset, run.path, devices)
            train(experiment)
            _keep(run, experiment, CHOOSING)


def log_folder(run: Run) -> Path:
    """The folder of a run's log, in which the process that does the run holds a lock."""
    return run.path.parents[1] / "logs" / run.path.name


def check_started(runs: Sequence[Run], dataset: Dataset) -> None:
    """Checks that the runs which have been started are those of the sweep.

    Raises:
        UserError: a folder holds a run of another config or on another dataset.
    """
    for run in runs:
        if run.path.exists():
            workdir = Workdir(run.path)
            workdir.write_config(stored_config(run.config))
            workdir.write_dataset(join_for_training(dataset, run.config.data.train_on))


def _scored(runs: Sequence[Run], dataset: Dataset, split: str, devices: Sequence[jax.Device] | None) -> Scored:
    """The score of a setting on a split, over the runs of all its seeds, which are evaluated if need be."""
    for run in runs:
        if not _kept(run, split).exists():
            _keep(run, Experiment.open(run.config, dataset, run.path, devices), split)
    outputs = [read_tensors(_kept(run, split)) for run in runs]
    records = [Workdir(run.path).metrics() for run in runs]
    return sweep_scores.score(runs[0].setting, outputs, records, dataset, split)


def _keep(run: Run, experiment: Experiment, split: str) -> None:
    params = chosen_params(experiment)
    outputs: Outputs = evaluator(experiment, split).gather(params, progress=True)
    arrays = {name: outputs[name] for name in KEPT}
    arrays[PARAMETERS] = np.array(parameters.count(experiment.split(params)[0]))
    with whole_file(_kept(run, split)) as partial:
        write_tensors(partial, arrays)


def _kept(run: Run, split: str) -> Path:
    return run.path / f"{split}.safetensors"
