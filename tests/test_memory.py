"""Freed memory stays with the process."""

import platform
import resource
import threading

import numpy as np
import pytest

from emi_jax.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize("size", [2**24, 2**27], ids=["16 MiB", "128 MiB"])  # glibc would map and unmap each time
def test_freed_memory_is_used_again_without_asking_the_system(size):
    assert keep_freed_memory()
    counted = []

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(size // 8)
        counted.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    for _ in range(2):
        thread = threading.Thread(target=faults)
        thread.start()
        thread.join()
    assert counted[1] < 20 * size / resource.getpagesize() / 10
