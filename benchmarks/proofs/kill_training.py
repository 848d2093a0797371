"""Kills a training at random moments, also in the middle of a save, and compares what it ends with.

python -m benchmarks.proofs.kill_training [--kills=20] [--per-run=4] [--signal=KILL] [--seed=0]

A run of a few small encoders is stopped and started again until it is done. Its parameters must be bit for bit those of
a run that was never stopped. With --signal=TERM it must also exit with 75 and go on after the very step it had taken.
"""

import argparse
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ASKED_TO_STOP = 75  # of the exit codes that docs/engine.md names
CLIPS = "24,8,8"
QUICK = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""XLA's flags with which it compiles fast: LLVM at level 0, fusions not by way of MLIR."""
STEPS_PER_EPOCH = 3
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
CONFIG = {
    "model.pairs": "('vision',)",
    "loss.audio": 0.0,
    "model.width": 8,
    **{f"model.{name}.config.{field}": value for name in ("vision", "text") for field, value in SMALL.items()},
    "model.vision.config.image_size": 16,
    "model.vision.config.patch_size": 8,
    "data.num_frames": 2,
    "data.num_tokens": 8,
    "train.batch_size": 8,
    "train.log_every": 1,
    "train.save_every": 0.7,
    "train.evaluate_every": 10.0,
}


class Training:
    """The command of a run in a workdir of its own.

    Attributes:
        workdir: of the run.
    """

    def __init__(self, root: Path, name: str, epochs: int):
        """Names the workdir; `root` holds the dataset and the compilation cache that all runs share."""
        fields = CONFIG | {"data.dir": root / "data", "train.epochs": epochs}
        self.workdir = root / name
        self._log = root / f"{name}.log"
        self._command = [sys.executable, "run.py", "--config=configs/stage1.py", f"--workdir={self.workdir}"]
        self._command += [f"--config.{field}={value}" for field, value in fields.items()]
        cache = {"JAX_COMPILATION_CACHE_DIR": str(root / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        quick = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK}
        self._environment = os.environ | cache | quick

    def start(self) -> subprocess.Popen:
        """Starts or restarts the run."""
        with self._log.open("w") as log:
            return subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )

    def said(self, pattern: str) -> str:
        """The group of a pattern in what the last start printed.

        Raises:
            AssertionError: it was not printed.
        """
        text = self._log.read_text()
        found = re.search(pattern, text)
        assert found, f"nothing like {pattern!r} in:\n{text}"
        return found[1]

    def finish(self) -> str:
        """Runs to the end; gives the fingerprint of the parameters."""
        code = self.start().wait()
        fingerprint = self.said(r"parameters sha256:([0-9a-f]{64})")
        assert code == 0, f"exit code {code}"
        return fingerprint

    def steps_logged(self) -> int:
        """Lines of metrics, of steps taken twice both."""
        path = self.workdir / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def is_saving(self) -> bool:
        """Whether a checkpoint is half written."""
        return any((self.workdir / "checkpoints").glob("*/*tmp*"))


def stop(training: Training, number: signal.Signals, steps: int, delay: float, saving: bool) -> bool:
    """Starts the run and sends it a signal; gives whether it was still at work.

    Args:
        training: the run.
        number: which signal.
        steps: after so many steps,
        delay: and so many seconds,
        saving: and, when True, as soon as a checkpoint is half written.
    """
    before, process = training.steps_logged(), training.start()
    _until(lambda: training.steps_logged() >= before + steps, process)
    time.sleep(delay)
    if saving:
        _until(training.is_saving, process)
    process.send_signal(number)
    code = process.wait()
    if code == 0:
        return False
    assert code == (-number if number == signal.SIGKILL else ASKED_TO_STOP), f"exit code {code}"
    return True


def kill_until_done(training: Training, number: signal.Signals, kills: int, steps: int, chance: random.Random) -> str:
    """Stops a run of so many steps several times, then lets it end; gives the fingerprint of its parameters."""
    for kill in range(kills):
        moment = chance.randint(1, max(1, steps // (kills + 1))), chance.uniform(0, 0.1), chance.random() < 0.5
        if not stop(training, number, *moment):
            break
        if number == signal.SIGTERM:
            stopped_after = training.said(r"after step (\d+), which is saved")
            saved = {path.name for path in (training.workdir / "checkpoints" / "last").iterdir()}
            assert stopped_after in saved, f"stopped after step {stopped_after}; saved are {sorted(saved)}"
        print(f"  {number.name} {kill + 1}{' in the middle of a save' if moment[2] else ''}", flush=True)
    return training.finish()


def _until(happens: Callable[[], bool], process: subprocess.Popen) -> None:
    while not happens() and process.poll() is None:
        time.sleep(0.001)


def make_data(root: Path) -> None:
    """A small synthetic corpus, prepared."""
    command = [sys.executable, "-m", "data_prep", "--corpus=synthetic", f"--out={root / 'data'}", f"--clips={CLIPS}"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    """Prints what each run ended with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--per-run", type=int, default=4)
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, number, same = random.Random(options.seed), signal.Signals[f"SIG{options.signal}"], 0
    runs = -(-options.kills // options.per_run)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make_data(root)
        expected = Training(root, "whole", options.epochs).finish()
        print(f"never stopped: sha256:{expected}", flush=True)
        for run, left in zip(itertools.count(1), range(options.kills, 0, -options.per_run), strict=False):
            training = Training(root, f"run{run}", options.epochs)
            kills, steps = min(left, options.per_run), options.epochs * STEPS_PER_EPOCH
            found = kill_until_done(training, number, kills, steps, chance)
            same += found == expected
            print(f"run {run}: sha256:{found} {'the same' if found == expected else 'ANOTHER'}", flush=True)
    print(f"{same} of {runs} runs bit for bit the same")
    sys.exit(same != runs)


if __name__ == "__main__":
    main()
