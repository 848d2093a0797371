"""Freed memory stays with the process."""

import platform
import resource

import numpy as np
import pytest

from emi_jax.memory import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_memory_is_used_again_without_asking_the_system():
    assert keep_freed_memory()
    size = 2**24  # bytes, which glibc would map and unmap each time

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(size // 8)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    assert faults() < 20 * size / resource.getpagesize() / 10
