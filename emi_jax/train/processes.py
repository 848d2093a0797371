"""Several processes, one run: each drives its own devices and reads its own share; the first one writes and prints."""

import os

import jax

from emi_jax.errors import UserError

HEARTBEAT_SECONDS = 30
"""A process that has been silent for so long counts as dead, and the others end."""


def join(asked: bool) -> None:
    """Joins the other processes of the run, before JAX is asked for its devices.

    Where they are is told by `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`, or found by JAX from
    what SLURM, Open MPI or a TPU pod say. CPUs then exchange arrays by gloo.

    Args:
        asked: there are others for certain; otherwise it is the environment that says so.

    Raises:
        UserError: who the others are is not known, or they do not come.
    """
    if not asked and not _announced():
        return
    names = "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
    try:
        count, number = (int(os.environ[name]) if name in os.environ else None for name in names)
        jax.distributed.initialize(num_processes=count, process_id=number, heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"the processes of this run do not find each other: {str(error).splitlines()[0]}; set "
            "JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or start them with srun"
        ) from error


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return jax.process_index() == 0


def _announced() -> bool:
    told = os.environ
    several_tasks = any(int(told.get(name, 1)) > 1 for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    several_workers = "," in told.get("TPU_WORKER_HOSTNAMES", "")
    return "JAX_COORDINATOR_ADDRESS" in told or several_tasks or several_workers
