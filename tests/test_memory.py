"""A program that trains on the CPU restarts itself once with the C library's malloc tuned."""

import os
import platform
import subprocess
import sys

import pytest

from emi_jax.memory import RESTARTED, SWITCH, TUNABLES, applies, tuned

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
PROGRAM = """
import os, sys
print(os.getpid(), flush=True)
from emi_jax.memory import restart_with_tuned_malloc
restart_with_tuned_malloc()
"""
FAULTS = """
import resource
import numpy as np

elements = 2**24 // 4
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(elements, np.float32)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""
CHILD = """
import subprocess
print(os.environ.get("GLIBC_TUNABLES"), sorted(name for name in os.environ if name.startswith("EMI_JAX")))
print(subprocess.run([sys.executable, "-c", "import os; print(os.environ.get('GLIBC_TUNABLES'))"],
                     capture_output=True, text=True, timeout=60).stdout)
"""


def output(folder, work, **environment):
    """The words that a program printed: the process of each of its starts, then the output of `work`."""
    program = folder / "program.py"
    program.write_text(PROGRAM + work)
    plain = {name: value for name, value in os.environ.items() if name not in ("GLIBC_TUNABLES", SWITCH, RESTARTED)}
    command = [sys.executable, str(program)]
    environment = plain | {"PYTHONPATH": ".", "JAX_PLATFORMS": "cpu"} | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.splitlines()


@GLIBC
def test_restarts_once_in_the_same_process_and_reuses_freed_memory(tmp_path):
    first, second, faults = map(int, output(tmp_path, FAULTS))
    assert first == second
    pages = 2**24 // os.sysconf("SC_PAGESIZE")
    assert faults < pages  # without tuning each of the 20 arrays takes that many faults


@GLIBC
@pytest.mark.parametrize("own", [None, "glibc.malloc.tcache_count=3"])
def test_programs_started_from_a_restarted_one_are_not_tuned(tmp_path, own):
    given = {} if own is None else {"GLIBC_TUNABLES": own}
    *_, here, child, _ = output(tmp_path, CHILD, **given)
    assert here == f"{own} []"
    assert child == str(own)


def test_is_switched_off_by_one_variable(tmp_path):
    started = output(tmp_path, "print('end')", **{SWITCH: "0"})
    assert len(started) == 2
    assert started[1] == "end"


@pytest.mark.parametrize(
    ("environment", "devices", "expected"),
    [
        ({}, [], True),
        ({}, ["dev/nvidiactl"], False),
        ({}, ["dev/accel0"], False),
        ({"JAX_PLATFORMS": "cpu"}, ["dev/nvidiactl"], True),
        ({"JAX_PLATFORMS": "cuda"}, [], False),
        ({SWITCH: "0"}, [], False),
    ],
)
def test_applies_where_no_accelerator_is_found(tmp_path, environment, devices, expected):
    for device in devices:
        (tmp_path / device).parent.mkdir(exist_ok=True)
        (tmp_path / device).touch()
    assert applies(environment, tmp_path) == expected


def test_settings_of_the_user_take_precedence():
    name = next(iter(TUNABLES))
    own = f"{name}=7:glibc.cpu.x=1"
    environment = tuned({"GLIBC_TUNABLES": own, "HOME": "/home"})
    assert environment["HOME"] == "/home"
    assert environment[RESTARTED] == own
    settings = environment["GLIBC_TUNABLES"].split(":")
    assert settings[:2] == own.split(":")
    assert sorted(setting.partition("=")[0] for setting in settings) == sorted([*TUNABLES, "glibc.cpu.x"])
