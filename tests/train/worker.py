"""One process of a multi-process run on the dataset in a folder."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from emi_jax.inputs.dataset import open_dataset
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from emi_jax.train import processes
from emi_jax.train.failures import ending_together
from emi_jax.train.signals import StoppedError
from emi_jax.train.startup import start
from tests.configs import tiny_stage1


def config():
    tiny = tiny_stage1()
    tiny.model.pairs, tiny.loss.audio = ("vision",), 0.0
    tiny.train.update(epochs=30, evaluate_every=30.0, save_every=10.0)
    tiny.train.loggers = ()  # that of TensorBoard imports PyTorch where it is installed, which takes seconds
    return tiny


def dataset(folder: str | Path):
    return open_dataset(folder, "tests.train.test_processes")


def report(error: Exception) -> int:
    print("error:", error, flush=True)
    return 2


def die_after(checkpoint: Path) -> None:
    while not checkpoint.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def run(variables: Mapping[str, str], output: Path, data: Path, workdir: Path, killed_at: int | None) -> None:
    """Runs one process.

    Args:
        variables: of its environment.
        output: the file to which it prints.
        data: folder of the dataset.
        workdir: of the run.
        killed_at: the process kills itself as soon as the checkpoint of this step is in `last/`.
    """
    os.environ.update(variables)
    with output.open("w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    processes.HEARTBEAT_SECONDS = 15  # half as long as usual
    processes.join(expected=False)
    start()
    if killed_at:
        path = workdir / "checkpoints" / "last" / str(killed_at)
        threading.Thread(target=die_after, args=(path,), daemon=True).start()
    try:
        with ending_together(report):
            train(Experiment.open(config(), dataset(data), workdir))
    except StoppedError as stopped:
        sys.exit(f"{stopped}")
    finally:
        atexit._run_exitfuncs()  # JAX's takes leave of the other process; `multiprocessing` runs none
