"""Does the parts of a study in processes of their own, or writes a job array of SLURM that does them."""

import contextlib
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
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from emi_jax.errors import UserError
from emi_jax.files import whole_file
from emi_jax.report.terminal import printable
from emi_jax.studies.parts import Part
from emi_jax.train.signals import stop_if_signalled

LOCAL, SLURM = LAUNCHERS = ("local", "slurm")
POLL = 0.2
"""Seconds between two looks at the processes."""
MEMORY = 0.9
"""Share of a GPU's memory that the processes on it divide among themselves."""

log = logging.getLogger("emi_jax")


def is_asked(config: ConfigDict) -> bool:
    """Whether this process is to do something else than the whole study: a part of it, or to start others."""
    options = config.launch
    return options.launcher != LOCAL or options.processes != 1 or options.index >= 0


def starts_others(config: ConfigDict) -> bool:
    """Whether a process with this config computes nothing, but starts others, to which it leaves all accelerators."""
    return "launch" in config and is_asked(config) and config.launch.index < 0


def launch(config: ConfigDict, parts: Sequence[Part], command: Sequence[str]) -> None:
    """Does what `config.launch` says: one part, or all of them in other processes, or the script of a job array.

    After all parts have been done in other processes, this one becomes the command that writes the study's results.

    Args:
        config: of the study.
        parts: the parts of the study.
        command: the command line of this process, which is started again for single parts.

    Raises:
        UserError: `config.launch` cannot be followed, or the part cannot be done.
    """
    options, folder = config.launch, Path(config.workdir)
    if options.launcher not in LAUNCHERS or options.processes < 1 or options.index >= len(parts):
        raise UserError(
            f"config.launch: found launcher={options.launcher}, processes={options.processes}, index={options.index}; "
            f"expected {' or '.join(LAUNCHERS)}, 1 or more, and a number below {len(parts)}, the parts of the study"
        )
    if options.index >= 0:
        parts[options.index].do()
        return
    missing = [number for number, part in enumerate(parts) if not part.is_done()]
    log.info("%d parts, %d of them done", len(parts), len(parts) - len(missing))
    if options.launcher == SLURM:
        if missing:
            path = write_job_array(folder.absolute(), command, missing, options.processes)
            log.info(
                "written: %s\nsubmit it, with what a part needs, as in: sbatch --gpus=1 --time=4:00:00 %s", path, path
            )
        log.info("when all tasks have ended, this writes the results: %s", shlex.join(_alone(command)))
        return
    log.info("%d at a time, each with its log: %s", options.processes, _log_of(folder / "logs", "PART"))
    start_all(command, missing, parts, folder / "logs", options.processes)
    sys.stdout.flush()
    os.execv(command[0], _alone(command))  # does what is missing, and writes the results


def own_command() -> list[str]:
    """The command line of this process."""
    return [sys.executable, *sys.orig_argv[1:]]


def start_all(command: Sequence[str], missing: Sequence[int], parts: Sequence[Part], logs: Path, count: int) -> None:
    """Does parts in processes of their own, `count` at a time; one that fails is reported and left to the caller.

    Args:
        command: the command line that does the part whose number is added to it.
        missing: numbers of the parts to do.
        parts: all parts.
        logs: the folder in which each part has a folder with its log.
        count: number of processes.

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
                    _report(_log_of(logs, parts[number].name), process.returncode, len(waiting) + len(running))
                if slot not in running and waiting:
                    number = waiting.pop(0)
                    running[slot] = number, _start(command, number, _log_of(logs, parts[number].name), slot, count)
            stop_if_signalled()
            time.sleep(POLL)
    except BaseException:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.wait()  # until its state is saved
        raise


def _log_of(logs: Path, part: str) -> Path:
    return logs / part / "log.txt"


def _start(command: Sequence[str], number: int, path: Path, slot: int, count: int) -> subprocess.Popen:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file, _cores(slot, count):
        return subprocess.Popen(
            [*command, f"--config.launch.index={number}"],
            env=os.environ | _environment(slot, count),
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def _report(path: Path, code: int, left: int) -> None:
    outcome = "done" if code == 0 else f"ended with exit code {code}, see {path}"
    log.info("%s: %s; %d left", path.parent.name, printable(outcome), left)


def _environment(slot: int, count: int) -> dict[str, str]:
    """Variables of one of `count` processes: on a host with NVIDIA GPUs, its GPU and its share of the memory."""
    if not (gpus := _gpus()):
        return {}
    share = MEMORY / math.ceil(count / len(gpus))
    return {"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)], "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{share:.2f}"}


def _gpus() -> list[str]:
    """The NVIDIA GPUs of this host that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        named = ",".join(re.sub(r"\D", "", path) for path in sorted(glob.glob("/dev/nvidia[0-9]*")))
    return named.split(",") if named else []


@contextlib.contextmanager
def _cores(slot: int, count: int) -> Iterator[None]:
    """On a host without GPUs, processes that are started here run on one of `count` shares of the cores.

    A step on few cores of its own wastes less time than one that shares more with the others.
    """
    if _gpus() or not hasattr(os, "sched_setaffinity"):  # not on macOS
        yield
        return
    cores = os.sched_getaffinity(0)  # of this thread; a process has those of the thread that starts it
    os.sched_setaffinity(0, sorted(cores)[slot % len(cores) :: count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def write_job_array(folder: Path, command: Sequence[str], missing: Sequence[int], count: int) -> Path:
    """Writes a script for `sbatch` with one task for each missing part, at most `count` at a time if that is above 1.

    A task that is stopped at its time limit has saved its state: the same command writes a script for what is missing.
    SLURM itself queues tasks again whose node fails or is needed by others.
    """
    tasks = ",".join(_ranges(missing)) + (f"%{count}" if count > 1 else "")
    own = [*command, "--config.launch.launcher=local"]
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={folder.name}",
        f"#SBATCH --array={tasks}",
        f"#SBATCH --output={folder}/logs/%A_%a.txt",
        "#SBATCH --requeue",
        "#SBATCH --signal=B:TERM@120",
        f"cd {shlex.quote(os.getcwd())} || exit",
        f'exec {shlex.join(own)} --config.launch.index="$SLURM_ARRAY_TASK_ID"',
    ]
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    path = folder / "job_array.sbatch"
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
    """The command that does the parts one after the other, in one process."""
    return [*command, "--config.launch.launcher=local", "--config.launch.processes=1"]
