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
from emi_jax.memory import compute_where_called, restart_with_tuned_malloc
restart_with_tuned_malloc()

import resource, threading

def faults(function):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        function()
    counted.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

counted, elements = [], int(sys.argv[1]) // 4
"""
IN_A_THREAD = """
import numpy as np

for _ in range(2):
    thread = threading.Thread(target=faults, args=(lambda: np.ones(elements, np.float32),))
    thread.start()
    thread.join()
"""
BY_JAX = """
import jax, jax.numpy as jnp
compute_where_called()

@jax.jit
def step(x):
    hidden = jnp.tanh(x)
    return hidden @ hidden[0]

x = jnp.ones((8, elements // 8))
for _ in range(2):
    faults(lambda: jax.block_until_ready(step(x)))
"""
GIVEN_BACK = """
import numpy as np
from emi_jax.memory import give_back_freed

def resident():
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

before = resident()
blocks = [np.ones(2**18, np.float32) for _ in range(elements // 2**18)]
last = np.ones(2**18, np.float32)  # what lies above the freed blocks stays
del blocks
freed = resident()
give_back_freed()
print(before, freed, resident())
"""


def huge_pages() -> bool:
    """Whether the system gives huge pages to those who ask."""
    try:
        return "[never]" not in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False


def tell(folder, size, work):
    """What a program with tuned malloc prints of so many bytes."""
    program = folder / "program.py"
    program.write_text(PROGRAM + work + "sys.exit(3)\n")
    plain = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"} | {"PYTHONPATH": "."}
    command = [sys.executable, program, str(size)]
    done = subprocess.run(command, env=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    first, second, *told = map(int, done.stdout.split())
    assert first == second  # started anew, once, in the same process
    return told


def faults(folder, size, work=IN_A_THREAD):
    """How often 20 arrays of so many bytes, one after the other, ask the system for a page."""
    return tell(folder, size, work + "print(counted[1])\n")[0]


@GLIBC
def test_freed_memory_is_used_again_without_asking_the_system(tmp_path):
    size = 2**24  # glibc would map and unmap it each time
    assert faults(tmp_path, size) < size / os.sysconf("SC_PAGESIZE")


@GLIBC
@pytest.mark.skipif(not huge_pages(), reason="the system has no huge pages")
def test_a_block_larger_than_a_heap_is_mapped_in_huge_pages(tmp_path):
    size = 2**27
    assert faults(tmp_path, size) < 20 * size / os.sysconf("SC_PAGESIZE") / 10


@GLIBC
def test_the_temporary_memory_of_a_step_stays_for_the_next_one(tmp_path):
    size = 2**27  # larger than the heap of any thread but the main one
    assert faults(tmp_path, size, BY_JAX) < 20 * 5  # mapped anew it would be 64 huge pages each time


@GLIBC
def test_what_is_free_is_given_back(tmp_path):
    size = 2**28
    before, freed, after = tell(tmp_path, size, GIVEN_BACK)
    assert freed - before > 0.9 * size  # kept, though nothing holds it
    assert after - before < 0.1 * size


def test_settings_of_the_user_stand():
    name = next(iter(TUNABLES))
    told = with_tuned_malloc({"GLIBC_TUNABLES": f"{name}=7:glibc.cpu.x=1", "HOME": "/home"})
    assert told["HOME"] == "/home"
    parts = told["GLIBC_TUNABLES"].split(":")
    assert parts[:2] == [f"{name}=7", "glibc.cpu.x=1"]
    assert sorted(part.partition("=")[0] for part in parts) == sorted([*TUNABLES, "glibc.cpu.x"])
    assert with_tuned_malloc(told) == told
