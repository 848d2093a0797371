"""Tunes the C library's malloc for training on the CPU: memory that a step freed stays for the next, in huge pages.

By default the GNU C library returns freed memory to the system, which hands out and clears the same pages again in
every step. Its settings are read once, when a program starts, so the program has to be restarted with them.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SWITCH = "EMI_JAX_MALLOC"
"""Environment variable; 0 leaves malloc as it is."""
RESTARTED = "EMI_JAX_RESTARTED"
"""Environment variable of a program that was restarted: what `GLIBC_TUNABLES` was before."""
TUNABLES = {
    "glibc.malloc.hugetlb": "1",  # asks for huge pages: one page fault for 512
    "glibc.malloc.trim_threshold": str(2**30),  # bytes of free memory that a heap keeps
    "glibc.malloc.top_pad": str(2**28),  # bytes requested in addition to those that are needed
    "glibc.malloc.mmap_max": "0",  # no block is mapped on its own where a heap can hold it
}
ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/dev/accel0", "/dev/vfio/0", "/dev/dxg")
"""Device files of NVIDIA and AMD GPUs, TPUs (two generations of drivers), and GPUs under WSL."""


def restart_with_tuned_malloc() -> None:
    """Restarts this program with `TUNABLES`, once, where it will compute on the CPU; call it before slow imports.

    The process stays the same. In the restarted program `GLIBC_TUNABLES` is what it was before, so that programs and
    worker processes started from it are not tuned.
    """
    if RESTARTED in os.environ:
        before = os.environ.pop(RESTARTED)
        os.environ.pop("GLIBC_TUNABLES", None)
        if before:
            os.environ["GLIBC_TUNABLES"] = before
    elif sys.platform == "linux" and sys.executable and applies(os.environ):
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], tuned(os.environ))


def applies(environment: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Whether malloc is to be tuned: not switched off, and JAX will find no accelerator, or not use it."""
    if environment.get(SWITCH) == "0":
        return False
    if platforms := environment.get("JAX_PLATFORMS"):
        return platforms == "cpu"
    return not any((root / path.removeprefix("/")).exists() for path in ACCELERATORS)


def tuned(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of the restarted program. Settings that `GLIBC_TUNABLES` holds already take precedence."""
    before = environment.get("GLIBC_TUNABLES", "")
    given = {setting.partition("=")[0] for setting in before.split(":")}
    added = [f"{name}={value}" for name, value in TUNABLES.items() if name not in given]
    settings = ":".join([before, *added] if before else added)
    return {**environment, "GLIBC_TUNABLES": settings, RESTARTED: before}
