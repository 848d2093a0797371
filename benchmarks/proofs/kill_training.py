"""Stops trainings at random moments, or starts two at once, and compares their results.

python -m benchmarks.proofs.kill_training [--kills=20] [--per-run=4] [--signal=KILL] [--seed=0]
python -m benchmarks.proofs.kill_training --pairs=10

A run with a few small encoders is stopped and restarted until it finishes. Its parameters must be bit-identical to
those of an uninterrupted run, and its best checkpoint must have the same step and score. Half of the kills arrive
during a save. With --signal=TERM half of the signals arrive during an evaluation; the run must also exit with 75 and
resume after exactly the step that it reported.

With --pairs two runs are started at once in the same workdir: one must train as if it were alone, the other must exit
with code 2 and name the first. Then two runs of stage 2 are started at once on the same new feature cache: both must
end with the parameters of a run with a separate cache.
"""

import argparse
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
EXPLAINED, STOPPED = 2, 75  # exit codes, documented in docs/engine.md
LONGEST = 1200
"""Seconds after which a run is considered to hang."""
CLIPS = "24,8,8"
QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1 --xla_cpu_use_fusion_emitters=false"
)
"""XLA flags for fast compilation: LLVM at level 0, one LLVM module for each program, no MLIR fusions."""
STEPS_PER_EPOCH, EVALUATE_EVERY = 3, 4
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
BOTH_STAGES = {
    "data.num_frames": 2,
    "data.num_tokens": 8,
    "train.batch_size": 8,
    "train.log_every": 1,
    "train.save_every": 0.7,
    "train.evaluate_every": float(EVALUATE_EVERY),
    "train.loggers": "()",  # that of TensorBoard imports PyTorch where it is installed, which takes seconds
}
STAGE_1 = BOTH_STAGES | {
    "model.pairs": "('vision',)",
    "loss.audio": 0.0,
    "model.width": 8,
    "train.optimizer": "adamw",  # Muon takes seconds to compile
    **{f"model.{name}.config.{field}": value for name in ("vision", "text") for field, value in SMALL.items()},
    "model.vision.config.image_size": 16,
    "model.vision.config.patch_size": 8,
}
STAGE_2 = BOTH_STAGES | {"model.modalities": "('vision', 'text')", "train.frozen": "('^towers/',)"}


class Training:
    """The command of a run in a separate workdir.

    Attributes:
        workdir: the workdir of the run.
    """

    def __init__(
        self, root: Path, name: str, epochs: int, stage: int = 1, fields: Mapping[str, Any] | None = None, log: str = ""
    ):
        """Builds the command.

        Args:
            root: holds the dataset and the compilation cache that all runs share.
            name: name of the workdir.
            epochs: number of epochs of the run.
            stage: 1 or 2.
            fields: further fields of the config.
            log: name of the log, by default that of the workdir.
        """
        own = {"data.dir": root / "data", "train.epochs": epochs, **(fields or {})}
        config = (STAGE_1, STAGE_2)[stage - 1] | own
        self.workdir = root / name
        self._log = root / f"{log or name}.log"
        self._command = [sys.executable, "run.py", f"--config=configs/stage{stage}.py", f"--workdir={self.workdir}"]
        self._command += [f"--config.{field}={value}" for field, value in config.items()]
        cache = {"JAX_COMPILATION_CACHE_DIR": str(root / "cache"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
        quick = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK}
        self._environment = os.environ | cache | quick

    def start(self) -> subprocess.Popen:
        """Starts or restarts the run."""
        with self._log.open("w") as log:
            return subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )

    def printed(self, pattern: str) -> str:
        """The group that a pattern matches in the output of the last start.

        Raises:
            AssertionError: the pattern does not match.
        """
        text = self._log.read_text()
        found = re.search(pattern, text)
        assert found, f"nothing like {pattern!r} in:\n{text}"
        return found[1]

    def fingerprint(self) -> str:
        """The hash of the parameters at the end of the last start."""
        return self.printed(r"parameters sha256:([0-9a-f]{64})")

    def best(self) -> tuple[int, Any]:
        """Step and facts (score) of the best checkpoint."""
        (step,) = (path for path in (self.workdir / "checkpoints" / "best").iterdir() if path.name.isdecimal())
        return int(step.name), json.loads((step / "arrays" / "seal.json").read_text())["facts"]

    def finish(self) -> tuple[str, tuple[int, Any]]:
        """Runs to the end; returns the fingerprint of the parameters and the best checkpoint."""
        code = self.start().wait(LONGEST)
        assert code == 0, f"exit code {code}: {self._log.read_text()}"
        return self.fingerprint(), self.best()

    def records(self) -> list[dict[str, float]]:
        """The complete lines of metrics, including those of repeated steps."""
        path = self.workdir / "metrics.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def is_saving(self) -> bool:
        """Whether a checkpoint is being written."""
        return any((self.workdir / "checkpoints").glob("*/*tmp*"))

    def is_evaluating(self) -> bool:
        """Whether an evaluation after the last logged step is due and not yet logged."""
        last = (self.records() or [{"step": 0}])[-1]
        return bool(last["step"]) and last["step"] % (EVALUATE_EVERY * STEPS_PER_EPOCH) == 0 and "loss" in last


def stop(
    training: Training, number: signal.Signals, steps: int, delay: float, moment: Callable[[], bool] | None
) -> bool:
    """Starts the run and sends it a signal; returns whether it was still running.

    Args:
        training: the run.
        number: the number of the signal.
        steps: number of steps to wait for.
        delay: seconds to wait after that.
        moment: a condition to wait for after that; None sends the signal at once.
    """
    before, process = len(training.records()), training.start()
    _until(lambda: len(training.records()) >= before + steps, process)
    time.sleep(delay)
    if moment:
        _until(moment, process)
    process.send_signal(number)
    code = process.wait(LONGEST)
    if code == 0:
        return False
    assert code == (-number if number == signal.SIGKILL else STOPPED), f"exit code {code}"
    return True


def stop_until_done(
    training: Training, number: signal.Signals, stops: int, steps: int, chance: random.Random
) -> tuple[str, tuple[int, Any]]:
    """Stops a run several times, then lets it finish; returns the result of `Training.finish`."""
    for stopped in range(stops):
        steps_before, delay = chance.randint(1, max(1, steps // (stops + 1) - EVALUATE_EVERY * STEPS_PER_EPOCH)), 0.0
        moment, where = None, ""
        if stopped % 2:
            delay = chance.uniform(0, 0.1)
        elif number == signal.SIGTERM:
            moment, where = training.is_evaluating, " during an evaluation"
        else:
            moment, where = training.is_saving, " in the middle of a save"
        if not stop(training, number, steps_before, delay, moment):
            break
        if number == signal.SIGTERM:
            stopped_after = training.printed(r"after step (\d+), which is saved")
            saved = {path.name for path in (training.workdir / "checkpoints" / "last").iterdir()}
            assert stopped_after in saved, f"stopped after step {stopped_after}; saved are {sorted(saved)}"
        print(f"  {number.name} {stopped + 1}{where}", flush=True)
    return training.finish()


def share_workdir(root: Path, name: str, epochs: int, expected: tuple[str, tuple[int, Any]]) -> bool:
    """Starts two runs at once in one workdir; returns whether one trained as if alone and the other was refused."""
    pair = [Training(root, name, epochs, log=f"{name}-{place}") for place in "ab"]
    codes = [process.wait(LONGEST) for process in [training.start() for training in pair]]
    assert sorted(codes) == [0, EXPLAINED], f"exit codes {codes}"
    trained, refused = (pair[codes.index(code)] for code in (0, EXPLAINED))
    refused.printed(r"in use by another program, (process \d+ on \S+, since \S+): wait")
    steps = [record["step"] for record in trained.records() if "loss" in record]
    assert steps == list(range(1, epochs * STEPS_PER_EPOCH + 1)), f"steps logged: {steps}"
    assert not trained.is_saving(), "a half-written checkpoint is left"
    assert not (trained.workdir / "checkpoints" / "damaged").exists()
    return (trained.fingerprint(), trained.best()) == expected


def share_cache(root: Path, name: str, epochs: int, fields: Mapping[str, Any], expected: str) -> bool:
    """Starts two runs at once on one new feature cache; returns whether both end with the expected parameters."""
    cache = root / f"{name}-features"
    fields = dict(fields) | {"features.dir": cache}
    pair = [Training(root, f"{name}-{place}", epochs, 2, fields) for place in "ab"]
    codes = [process.wait(LONGEST) for process in [training.start() for training in pair]]
    assert codes == [0, 0], f"exit codes {codes}"
    assert not list(cache.glob("*.part")), "a half-written file is left"
    return all(training.fingerprint() == expected for training in pair)


def _until(happens: Callable[[], bool], process: subprocess.Popen) -> None:
    while not happens() and process.poll() is None:
        time.sleep(0.001)


def make_data(root: Path) -> None:
    """Makes and prepares a small synthetic corpus."""
    command = [sys.executable, "-m", "data_prep", "--corpus=synthetic", f"--out={root / 'data'}", f"--clips={CLIPS}"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main() -> None:
    """Prints the outcome of each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="signals in all")
    parser.add_argument("--per-run", type=int, default=4, help="signals to each run")
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL")
    parser.add_argument("--pairs", type=int, default=0, help="start two runs at once, so many times; no signals")
    parser.add_argument("--epochs", type=int, default=40, help="of a run that is stopped")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make_data(root)
        sys.exit(not (start_pairs(root, options.pairs) if options.pairs else stop_runs(root, options)))


def stop_runs(root: Path, options: argparse.Namespace) -> bool:
    """Returns whether interrupted runs end like an uninterrupted one."""
    chance, number, same = random.Random(options.seed), signal.Signals[f"SIG{options.signal}"], 0
    runs = -(-options.kills // options.per_run)
    expected = Training(root, "whole", options.epochs).finish()
    print(f"never stopped: sha256:{expected[0]}, best {expected[1]}", flush=True)
    for run, left in zip(itertools.count(1), range(options.kills, 0, -options.per_run), strict=False):
        training = Training(root, f"run{run}", options.epochs)
        stops, steps = min(left, options.per_run), options.epochs * STEPS_PER_EPOCH
        found = stop_until_done(training, number, stops, steps, chance)
        same += found == expected
        print(f"run {run}: sha256:{found[0]} {'the same' if found == expected else f'ANOTHER: {found}'}", flush=True)
    print(f"{same} of {runs} runs bit for bit the same")
    return same == runs


def start_pairs(root: Path, pairs: int, epochs: int = 4) -> bool:
    """Returns whether two runs that are started at once end like a single one."""
    alone = Training(root, "whole", epochs)
    expected = alone.finish()
    fields = {"init_from": alone.workdir}
    features, _ = Training(root, "fusion", epochs, 2, fields | {"features.dir": root / "features"}).finish()
    same = 0
    for pair in range(1, pairs + 1):
        in_workdir = share_workdir(root, f"workdir{pair}", epochs, expected)
        on_cache = share_cache(root, f"cache{pair}", epochs, fields, features)
        same += in_workdir and on_cache
        outcomes = ", ".join(
            f"{what} {'the same' if well else 'ANOTHER'}"
            for what, well in (("one workdir:", in_workdir), ("one feature cache:", on_cache))
        )
        print(f"pair {pair}: {outcomes}", flush=True)
    print(f"{same} of {pairs} pairs bit for bit as one alone")
    return same == pairs


if __name__ == "__main__":
    main()
