"""The memory of a process on the CPU: in huge pages, and what a step freed stays for the next one."""

import ctypes
import os
import sys
from collections.abc import Mapping

TUNABLES = {
    "glibc.malloc.hugetlb": "1",  # asks for huge pages: one fault for 512
    "glibc.malloc.trim_threshold": str(2**63 - 1),  # nothing is given back
    "glibc.malloc.top_pad": str(2**28),  # bytes asked for beside those that are needed
    "glibc.malloc.mmap_max": "0",  # no block is mapped apart where a heap can hold it
}
"""Of the GNU C library, which reads them from `GLIBC_TUNABLES` as a program starts; other libraries ignore them."""


def with_tuned_malloc(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with `TUNABLES` beside those that it holds already, which stand."""
    told = environment.get("GLIBC_TUNABLES", "")
    held = {part.partition("=")[0] for part in told.split(":")}
    added = [f"{name}={value}" for name, value in TUNABLES.items() if name not in held]
    return {**environment, "GLIBC_TUNABLES": ":".join([told, *added] if told else added)}


def restart_with_tuned_malloc() -> None:
    """Starts this program anew with `TUNABLES`, in the same process, unless it has them: before slow imports.

    Otherwise each step on the CPU frees its memory to the system, which hands out and clears the same pages anew.
    """
    environment = with_tuned_malloc(os.environ)
    if sys.platform == "linux" and sys.executable and environment != dict(os.environ):
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def compute_where_called() -> None:
    """Has JAX compute on the CPU in the thread that calls, before it is asked for its devices.

    The main thread's heap grows to any size. To other threads, those that JAX would take, glibc maps each block of more
    than 64 MiB apart, and unmaps it: the temporary memory of a step would be handed out and cleared anew each time.
    """
    import jax  # late: it is slow, and a program may be started anew before

    jax.config.update("jax_cpu_enable_async_dispatch", False)


def give_back_freed() -> None:
    """Gives the system what is free, where the C library is GNU's: once what is freed is not what a step takes again.

    With `TUNABLES` all that setting up and compilation have freed would otherwise stay with the process.
    """
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(ctypes.c_size_t(0))
