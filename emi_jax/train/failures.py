"""An error in one process of a run ends all of its processes within seconds.

Otherwise the others would wait for it in their next exchange of arrays, and the process that failed would wait for them
when it exits. The message is passed on through the key-value store of JAX's coordination service.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax
from jax._src import distributed  # the store has no public interface

from emi_jax.errors import UserError
from emi_jax.train.processes import OtherProcessError
from emi_jax.train.signals import StoppedError

FAILURE, SEEN = "emi_jax/failure", "emi_jax/seen"
"""Keys of the first failure, and of each process that has read it."""
POLL_SECONDS = 0.5
PATIENCE_SECONDS = 10.0
"""How long a process that failed waits until the others have read its message."""

Report = Callable[[Exception], int]
"""Prints an error and returns the exit code."""


@contextlib.contextmanager
def ending_together(report: Report) -> Iterator[None]:
    """Within the context, an error in this process ends all processes of the run, and one in another ends this one.

    Does nothing in a run of one process. Stop signals are excluded: the processes agree on a step after which to stop.

    Args:
        report: called with the error of this process, or with a UserError that quotes that of another process.
    """
    if not jax.distributed.is_initialized():
        yield
        return
    left = threading.Event()
    threading.Thread(target=_watch, args=(report, left), name="watches other processes", daemon=True).start()
    try:
        yield
    except StoppedError:
        raise
    except Exception as error:
        if isinstance(error, OtherProcessError):
            time.sleep(PATIENCE_SECONDS)  # until then the message of that process has ended this one
        code = report(error)
        _announce(error)
        _leave(code)
    finally:
        left.set()


def _watch(report: Report, left: threading.Event) -> None:
    state, client = distributed.global_state, _client()
    while not left.wait(POLL_SECONDS):
        try:
            number, _, message = client.key_value_try_get(FAILURE).partition(" ")
        except jax.errors.JaxRuntimeError as error:
            if "NOT_FOUND" in str(error):
                continue
            return  # the service has ended
        if int(number) != state.process_id:
            code = report(UserError(f"process {number} of this run failed: {message}"))
            _set(f"{SEEN}/{state.process_id}", "")
            _leave(code)
        return


def _announce(error: Exception) -> None:
    state, deadline = distributed.global_state, time.monotonic() + PATIENCE_SECONDS
    if not _set(FAILURE, f"{state.process_id} {error}"):
        return  # another process failed before
    for number in range(state.num_processes):
        left = max(1, round(1000 * (deadline - time.monotonic())))
        if number != state.process_id:
            with contextlib.suppress(jax.errors.JaxRuntimeError):
                _client().blocking_key_value_get(f"{SEEN}/{number}", left)


def _set(key: str, value: str) -> bool:
    """Sets a key that is not set yet; returns whether that succeeded."""
    try:
        _client().key_value_set(key, value)
    except jax.errors.JaxRuntimeError:
        return False
    return True


def _client() -> Any:
    return distributed.global_state.client


def _leave(code: int) -> NoReturn:
    """Exits without JAX's exit handler, which would wait for the other processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
