"""One run in several processes: each drives its devices and reads its share; only the first writes and prints."""

import os
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from emi_jax.errors import UserError

HEARTBEAT_SECONDS = 30
"""A process that has been silent for this long is considered dead, and the others exit."""

Result = TypeVar("Result")


class OtherProcessError(UserError):
    """Another process of the run failed; its own message says why."""


def join(expected: bool) -> None:
    """Joins the other processes of the run, before JAX initialises its devices.

    Their addresses come from `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`, or JAX detects
    them from SLURM, Open MPI or a TPU pod. CPUs then exchange arrays through gloo.

    Args:
        expected: whether there must be other processes; if False, the environment decides.

    Raises:
        UserError: the addresses of the other processes are unknown, or they cannot be reached.
    """
    if not expected and not _environment_announces_others():
        return
    # On CPUs, programs that exchange arrays run one after the other: two at once could wait for each other's messages.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    names = "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
    try:
        count, number = (int(os.environ[name]) if os.environ.get(name) else None for name in names)
        jax.distributed.initialize(num_processes=count, process_id=number, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"cannot connect to the other processes of this run: {str(error).splitlines()[0]}; set "
            "JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or start the processes with srun"
        ) from error


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def decide_in_first(decide: Callable[[], int]) -> int:
    """Computes an integer in the first process and returns it in all processes.

    Raises:
        Exception: `decide` failed; the other processes raise an `OtherProcessError`.
    """
    value, error = 0, None
    if is_first():
        try:
            value = decide()
        except Exception as caught:
            error = caught
    if jax.process_count() > 1:
        value, failed = multihost_utils.broadcast_one_to_all(np.array([value, error is not None], np.int32)).tolist()
        if failed and error is None:
            raise OtherProcessError("the first process of this run failed: see its message")
    if error is not None:
        raise error
    return value


def succeed_together(work: Callable[[], Result]) -> Result:
    """Runs `work`, which must not communicate, in every process; if it fails in one, all of them raise.

    Raises:
        Exception: `work` failed here; if it failed elsewhere, an `OtherProcessError` that names the process.
    """
    error = None
    try:
        result = work()
    except Exception as caught:
        error = caught
    if jax.process_count() > 1:
        failed = np.flatnonzero(multihost_utils.process_allgather(np.array(error is not None)))
        if failed.size and error is None:
            raise OtherProcessError(f"process {failed[0]} of this run failed: see its message")
    if error is not None:
        raise error
    return result


def _environment_announces_others() -> bool:
    variables = os.environ
    counts = (variables.get(name, "") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    several_tasks = any(count.isdecimal() and int(count) > 1 for count in counts)
    several_workers = "," in variables.get("TPU_WORKER_HOSTNAMES", "")
    return bool(variables.get("JAX_COORDINATOR_ADDRESS")) or several_tasks or several_workers
