"""One process of a multi-process run on the dataset of the tests.

python -m tests.train.worker WORKDIR [CHECKPOINT]

With CHECKPOINT, the process kills itself as soon as the checkpoint of that step is in `last/`.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from emi_jax.train.processes import join
from emi_jax.train.signals import StoppedError
from emi_jax.train.startup import start
from tests.configs import tiny_stage1
from tests.fakes import make_dataset


def config():
    tiny = tiny_stage1()
    tiny.model.pairs, tiny.loss.audio = ("vision",), 0.0
    tiny.train.update(epochs=30, evaluate_every=30.0, save_every=10.0)
    return tiny


def dataset():
    return make_dataset(train=13)


def die_after(checkpoint: Path) -> None:
    while not checkpoint.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    workdir, *checkpoint = sys.argv[1:]
    join(expected=False)
    start()
    if checkpoint:
        path = Path(workdir) / "checkpoints" / "last" / checkpoint[0]
        threading.Thread(target=die_after, args=(path,), daemon=True).start()
    try:
        train(Experiment.open(config(), dataset(), workdir))
    except StoppedError as stopped:
        sys.exit(f"{stopped}")
