"""Starts the runs of a sweep: here, in this process or in several, or as a job array of SLURM."""

import glob
import itertools
import logging
import math
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from configs import command_line, effects
from emi_jax.errors import UserError
from emi_jax.files import whole_file
from emi_jax.inputs.dataset import Dataset
from emi_jax.report.terminal import printable
from emi_jax.runs.results import Summary
from emi_jax.studies import sweep
from emi_jax.train.signals import stop_if_signalled

LOCAL, SLURM = LAUNCHERS = ("local", "slurm")
POLL = 0.2
"""Seconds between two looks at the processes."""
MEMORY = 0.9
"""Share of a GPU's memory that the processes on it divide among themselves."""

log = logging.getLogger("emi_jax")


def starts_others(config: ConfigDict) -> bool:
    """Whether a process with this config computes nothing, but starts others, to which it leaves all accelerators."""
    if config.get("study") != "sweep" or config.sweep.index >= 0:
        return False
    return config.sweep.launcher == SLURM or config.sweep.processes > 1


def run(config: ConfigDict, dataset: Dataset, command: Sequence[str]) -> Summary | None:
    """Does what `config.sweep` says.

    Args:
        config: of the sweep.
        dataset: the dataset.
        command: the command line of this process, which is started again for single runs.

    Returns:
        The results, with the command of the best run; None if only a single run was done, or none.

    Raises:
        UserError: the sweep cannot be done.
    """
    options, runs = config.sweep, sweep.runs(config)
    for each in runs:
        effects.refuse_without_effect(each.config, each.setting.changes)
    if options.launcher not in LAUNCHERS or options.processes < 1 or options.index >= len(runs):
        raise UserError(
            f"config.sweep: found launcher={options.launcher}, processes={options.processes}, index={options.index}; "
            f"expected {' or '.join(LAUNCHERS)}, 1 or more, and a number below the {len(runs)} runs"
        )
    if options.index >= 0:
        sweep.check_started([runs[options.index]], dataset)
        sweep.run_one(runs[options.index], dataset)
        return None
    sweep.check_started(runs, dataset)
    missing = [number for number, each in enumerate(runs) if not each.is_done]
    log.info("%d runs, %d of them done", len(runs), len(runs) - len(missing))
    if options.launcher == SLURM:
        if missing:
            path = write_job_array(Path(config.workdir).absolute(), command, missing, options.processes)
            log.info(
                "written: %s\nsubmit it, with what a run needs, as in: sbatch --gpus=1 --time=4:00:00 %s", path, path
            )
        log.info("when all tasks have ended, this writes the table: %s", shlex.join(_alone(command)))
        return None
    if options.processes > 1:
        start_all(command, missing, runs, options.processes)
        sys.stdout.flush()
        os.execv(command[0], _alone(command))  # does what is missing, and writes the table
    summary, best = sweep.run(config, dataset)
    return Summary(summary.table, summary.written, f"{summary.verdict}\n{command_line.training_command(best)}")


def own_command() -> list[str]:
    """The command line of this process."""
    return [sys.executable, *sys.orig_argv[1:]]


def start_all(command: Sequence[str], missing: Iterable[int], runs: Sequence[sweep.Run], count: int) -> None:
    """Does runs in processes of their own, `count` at a time; a run that fails is reported and left to the caller.

    Raises:
        StoppedError: a stop signal was received; all processes have saved their state and stopped.
    """
    waiting = list(missing)
    running: dict[int, tuple[int, subprocess.Popen]] = {}
    try:
        while waiting or running:
            for slot in range(count):
                if slot in running and running[slot][1].poll() is not None:
                    number, process = running.pop(slot)
                    _report(runs[number], process.returncode, len(waiting) + len(running))
                if slot not in running and waiting:
                    number = waiting.pop(0)
                    running[slot] = number, _start(command, number, runs[number], environment(slot, count))
            stop_if_signalled()
            time.sleep(POLL)
    except BaseException:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.wait()  # until its state is saved
        raise


def _start(command: Sequence[str], number: int, run: sweep.Run, own: dict[str, str]) -> subprocess.Popen:
    path = sweep.log_folder(run) / "log.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        return subprocess.Popen(
            [*command, f"--config.sweep.index={number}"], env=os.environ | own, stdout=file, stderr=subprocess.STDOUT
        )


def _report(run: sweep.Run, code: int, left: int) -> None:
    outcome = "done" if code == 0 else f"ended with exit code {code}, see {sweep.log_folder(run) / 'log.txt'}"
    log.info("%s: %s; %d left", run.path.name, printable(outcome), left)


def environment(slot: int, count: int) -> dict[str, str]:
    """Variables of one of `count` processes: on a host with NVIDIA GPUs, its GPU and its share of the memory."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        named = ",".join(re.sub(r"\D", "", path) for path in sorted(glob.glob("/dev/nvidia[0-9]*")))
    gpus = named.split(",") if named else []
    if not gpus:
        return {}
    share = MEMORY / math.ceil(count / len(gpus))
    return {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)], "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{share:.2f}"}


def write_job_array(folder: Path, command: Sequence[str], missing: Sequence[int], count: int) -> Path:
    """Writes a script for `sbatch` with one task for each missing run, at most `count` at a time if that is above 1.

    A task that is stopped at its time limit has saved its state, and SLURM queues it again.
    """
    tasks = ",".join(_ranges(missing)) + (f"%{count}" if count > 1 else "")
    own = [*command, "--config.sweep.launcher=local"]
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={folder.name}",
        f"#SBATCH --array={tasks}",
        f"#SBATCH --output={folder}/logs/%A_%a.txt",
        "#SBATCH --requeue",
        "#SBATCH --signal=B:TERM@120",
        f"cd {shlex.quote(os.getcwd())} || exit",
        f'exec {shlex.join(own)} --config.sweep.index="$SLURM_ARRAY_TASK_ID"',
    ]
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    path = folder / "sweep.sbatch"
    with whole_file(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _ranges(numbers: Sequence[int]) -> list[str]:
    """Ascending numbers as ranges: 0-3, 7."""
    found = []
    for _, group in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        first, *rest = [number for _, number in group]
        found.append(f"{first}-{rest[-1]}" if rest else str(first))
    return found


def _alone(command: Sequence[str]) -> list[str]:
    """The command that does the runs one after the other, in one process."""
    return [*command, "--config.sweep.launcher=local", "--config.sweep.processes=1"]
