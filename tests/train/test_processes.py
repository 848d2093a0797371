"""Two processes of two devices each, as on two hosts: real `jax.distributed`, with arrays exchanged through gloo."""

import contextlib
import multiprocessing
import re
import signal
import socket
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.training import train
from emi_jax.train import processes
from tests.fakes import make_dataset, store
from tests.flags import quick
from tests.train import worker


@pytest.fixture
def data(tmp_path):
    """A folder with a dataset of the clips of `make_dataset`."""
    store(make_dataset(train=13), tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def start(data, tmp_path):
    """Starts the two processes of a run; those still running are ended after the test.

    They are forked from a process that has imported what a run needs, which takes longer than the run itself.
    """
    context, started = multiprocessing.get_context("forkserver"), []
    context.set_forkserver_preload(["tests.train.worker"])

    def start(workdir, killed_at=None):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        pair = []
        for number in range(2):
            variables = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(number)}
            variables |= {"XLA_FLAGS": quick(devices=2), "JAX_PLATFORMS": "cpu"}
            output = tmp_path / f"output-{len(started)}-{number}"
            arguments = variables, output, data, workdir, killed_at if number == 1 else None
            pair.append(Worker(context.Process(target=worker.run, args=arguments), output))
            pair[-1].process.start()
        started.extend(pair)
        return pair

    yield start
    for one in started:
        one.process.kill()
        one.process.join(60)


class Worker(NamedTuple):
    """A process of a run, and the file to which it prints."""

    process: multiprocessing.Process
    output: Path

    def end(self, seconds: float) -> tuple[int | None, str]:
        """Waits for the end of the process; returns its exit code and what it printed."""
        self.process.join(seconds)
        return self.process.exitcode, self.output.read_text()


def losses(experiment):
    return [record["loss"] for record in experiment.workdir.metrics() if "loss" in record]


def ends(pair):
    """The exit codes and outputs of the processes."""
    return tuple(zip(*(one.end(300) for one in pair), strict=True))


@contextlib.contextmanager
def damaged_record(data):
    """Within the context, a byte in the middle of the training split is wrong; in each epoch one process reads it."""
    (path,) = data.glob("emi/*/emi-train.array_record*")
    content = bytearray(path.read_bytes())
    place = len(content) // 2
    content[place] ^= 255
    path.write_bytes(content)
    yield
    content[place] ^= 255
    path.write_bytes(content)


def test_two_processes_train_like_one_fail_and_stop_together_and_resume(start, data, tmp_path):
    config = worker.config()
    alone = Experiment.open(config, worker.dataset(data), tmp_path / "alone", jax.devices()[:4])
    train(alone)

    first, second = start(tmp_path / "run", killed_at=20)
    code, said = second.end(300)
    assert code == -signal.SIGKILL, said
    code, said = first.end(60)  # within a minute after the other was killed
    assert code not in (0, None), said

    resumed = Experiment.open(config, worker.dataset(data), tmp_path / "run", jax.devices()[:4])
    before = len(losses(resumed))
    assert 20 <= before < 60, said

    first, second = start(tmp_path / "run")
    deadline = time.monotonic() + 300
    while len(losses(resumed)) < before + 2 and second.process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    second.process.terminate()  # only one receives the signal, yet both stop after the same step
    codes, said = ends((first, second))
    steps = [re.search(r"stopped by SIGTERM after step (\d+), which is saved", text) for text in said]
    assert all(steps), (codes, said)
    assert steps[0][1] == steps[1][1]

    with damaged_record(data):
        began = time.monotonic()
        codes, said = ends(start(tmp_path / "run"))
    assert time.monotonic() - began < 60
    assert codes == (2, 2), said
    fault = rf"{data}.*, split train: clip number \d+ cannot be read \(Corrupted Riegeli/records file"
    (reader,) = [number for number, text in enumerate(said) if re.search(f"error: {fault}", text)]
    assert re.search(f"error: process {reader} of this run failed: {fault}", said[1 - reader]), said

    codes, (said, silent) = ends(start(tmp_path / "run"))
    assert codes == (0, 0), said + silent
    assert f"resumed: step {steps[0][1]} of 60" in said
    assert "parameters sha256:" in said
    assert "parameters sha256:" not in silent
    np.testing.assert_allclose(losses(resumed), losses(alone), rtol=1e-3)
    assert len(losses(alone)) == 60


def test_processes_join_only_if_the_environment_announces_others(monkeypatch):
    joined = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: joined.append(options))
    launchers = "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"
    for name in ("JAX_COORDINATOR_ADDRESS", "TPU_WORKER_HOSTNAMES", *launchers):
        monkeypatch.delenv(name, raising=False)
    processes.join(expected=False)
    for number, name in enumerate(launchers):
        for alone in ("1", "", "many"):
            monkeypatch.setenv(name, alone)
            processes.join(expected=False)
            assert len(joined) == number
        monkeypatch.setenv(name, "8")
        processes.join(expected=False)
        assert len(joined) == number + 1
        monkeypatch.delenv(name)
    processes.join(expected=True)
    assert len(joined) == 3


def test_unreachable_processes_are_reported_in_one_line(monkeypatch):
    def nobody(**options):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", nobody)
    with pytest.raises(
        UserError,
        match=r"cannot connect to the other processes of this run: coordinator_address should be defined.*srun",
    ):
        processes.join(expected=True)


def several(monkeypatch, first, failures):
    """Simulates a run of two processes, in which those numbered in `failures` failed."""
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(processes, "is_first", lambda: first)
    monkeypatch.setattr(processes.multihost_utils, "broadcast_one_to_all", lambda _: np.array([7, bool(failures)]))
    gathered = np.isin(np.arange(2), failures)
    monkeypatch.setattr(processes.multihost_utils, "process_allgather", lambda _: gathered)


def fail():
    raise OSError("stale handle")


def test_an_error_in_one_process_ends_all(monkeypatch):
    several(monkeypatch, first=False, failures=[0])
    with pytest.raises(UserError, match="process 0 of this run failed"):
        processes.succeed_together(lambda: 1)
    with pytest.raises(UserError, match="the first process of this run failed"):
        processes.decide_in_first(fail)  # `fail` is not called in this process
    several(monkeypatch, first=True, failures=[0])
    for run_together in (processes.succeed_together, processes.decide_in_first):
        with pytest.raises(OSError, match="stale handle"):
            run_together(fail)


def test_all_processes_get_the_decision_of_the_first(monkeypatch):
    several(monkeypatch, first=False, failures=[])
    assert processes.decide_in_first(fail) == 7
    assert processes.succeed_together(lambda: "read") == "read"
