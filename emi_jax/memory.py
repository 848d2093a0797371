"""The memory of a process on the CPU: what was freed stays, for the next step."""

import ctypes

# Parameters of glibc's mallopt(3), and what they are set to.
_SETTINGS = {
    -1: -1,  # M_TRIM_THRESHOLD: nothing is given back
    -2: 2**28,  # M_TOP_PAD: bytes asked for beside those that are needed
    -4: 0,  # M_MMAP_MAX: no block is mapped apart; without this, none above 32 MiB would stay
    -8: 1,  # M_ARENA_MAX: one heap for all threads; the others' hold at most 64 MiB
}


def keep_freed_memory() -> bool:
    """Lets the C library keep what a step on the CPU frees for the next one, in place of giving it to the system.

    Otherwise the system hands out and clears the same pages anew in every step. Threads that have begun before keep
    the heaps that they have.

    Returns:
        Whether the C library is glibc, which can be told.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    taken = [mallopt(name, value) for name, value in _SETTINGS.items()]
    return all(taken)
