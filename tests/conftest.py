"""Every test runs with eight virtual CPU devices, strict rank promotion and warnings as errors."""

import atexit
import gc
import os
import shutil
import tempfile

from tests.flags import quick

os.environ.setdefault("XLA_FLAGS", quick(devices=8))
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")  # programs are lowered without the lines that made them

# What one test, or one worker, has compiled serves the others. Modules compile nothing when they are imported: workers
# import them at the same time, and one would read what the other is just writing.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.TemporaryDirectory(prefix="emi_jax_tests_")
    atexit.register(compiled.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax
import pytest
from filelock import FileLock

jax.config.update("jax_numpy_rank_promotion", "raise")
# Tracing makes many small objects that live long: looking for cycles after every 700 takes a tenth of all time.
gc.set_threshold(50_000)


LONG = (
    "test_processes.py",
    "test_killed.py",
    "test_ablation.py",
    "test_training.py",
    "test_accelerator.py",
    "test_predictor.py",
)


def pytest_collection_modifyitems(items):
    """Moves the longest tests to the start, so that none of them runs alone at the end."""
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_collection_finish():
    """Leaves what was imported out of later searches for cycles, and of what `gc.get_objects` lists."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=hasattr(os, "sched_getscheduler"))
def scheduling():
    """No test leaves its thread with real-time priority.

    Processes started later would inherit it, and one that polls for messages would keep all others from the processor.
    """
    yield
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        pytest.fail("this test, or a library that it calls, changed the scheduling of its thread")


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """A function that makes a folder by a given function, once for all workers of the session."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name, make):
        made = base / f"{name}.made"
        with FileLock(base / f"{name}.lock"):
            if not made.exists():
                make(base / name)
                made.touch()
        return base / name

    return once


@pytest.fixture(scope="session")
def trained(once):
    """A tiny trained run of stage 2, and its folder, in which nothing may be written."""
    from emi_jax.runs.experiment import Experiment
    from emi_jax.runs.training import train
    from tests.configs import tiny_stage2
    from tests.fakes import make_dataset

    config, dataset = tiny_stage2(), make_dataset()
    config.train.epochs = 2

    def opened(folder):
        return Experiment.open(config, dataset, folder, jax.devices()[:1])

    folder = once("trained", lambda folder: train(opened(folder)))
    return opened(folder), folder


@pytest.fixture(scope="session")
def evaluated(trained, once):
    """A copy of the same run that is scored on test, and its folder."""
    from emi_jax.runs import results
    from emi_jax.runs.experiment import Experiment

    def opened(folder):
        return Experiment.open(trained[0].config, trained[0].dataset, folder, jax.devices()[:1])

    def make(folder):
        shutil.copytree(trained[1], folder)
        results.evaluate(opened(folder), "test")

    folder = once("evaluated", make)
    return opened(folder), folder
