"""Programs run with the C library's malloc tuned: freed memory stays with the process, in huge pages."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from emi_jax.memory import TUNABLES, with_tuned_malloc

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
PROGRAM = """
import os, sys
print(os.getpid(), flush=True)
from emi_jax.memory import restart_with_tuned_malloc
restart_with_tuned_malloc()

import resource, threading
import numpy as np

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(int(sys.argv[1]) // 8)
    counted.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

counted = []
for _ in range(2):
    thread = threading.Thread(target=faults)
    thread.start()
    thread.join()
print(counted[1])
sys.exit(3)
"""


def huge_pages() -> bool:
    """Whether the system gives huge pages to those who ask."""
    try:
        return "[never]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False


def faults(folder, size):
    """How often 20 arrays of so many bytes, one after the other in a second thread, ask the system for a page."""
    program = folder / "program.py"
    program.write_text(PROGRAM)
    plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"} | {"PYTHONPATH": "."}
    command = [sys.executable, program, str(size)]
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    first, second, counted = map(int, done.stdout.split())
    assert first == second  # started anew, once, in the same process
    return counted


@GLIBC
def test_freed_memory_is_used_again_without_asking_the_system(tmp_path):
    size = 2**24  # glibc would map and unmap it each time
    assert faults(tmp_path, size) < size / os.sysconf("SC_PAGESIZE")


@GLIBC
@pytest.mark.skipif(not huge_pages(), reason="the system has no huge pages")
def test_a_block_larger_than_a_heap_is_mapped_in_huge_pages(tmp_path):
    size = 2**27
    assert faults(tmp_path, size) < 20 * size / os.sysconf("SC_PAGESIZE") / 10


def test_settings_of_the_user_stand():
    name = next(iter(TUNABLES))
    told = with_tuned_malloc({"GLIBC_TUNABLES": f"{name}=7:glibc.cpu.x=1", "HOME": "/home"})
    assert told["HOME"] == "/home"
    parts = told["GLIBC_TUNABLES"].split(":")
    assert parts[:2] == [f"{name}=7", "glibc.cpu.x=1"]
    assert sorted(part.partition("=")[0] for part in parts) == sorted([*TUNABLES, "glibc.cpu.x"])
    assert with_tuned_malloc(told) == told
