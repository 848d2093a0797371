"""The memory of a process on the CPU: what was freed stays, for the next step."""

import ctypes

# Parameters of glibc's mallopt(3), and what they are set to, in bytes.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST, _PAD, _LARGEST_MAPPED = 2**31 - 1, 2**28, 2**25


def keep_freed_memory() -> bool:
    """Lets the C library keep what a step on the CPU frees for the next one, in place of giving it to the system.

    Otherwise the system hands out and clears the same pages anew in every step.

    Returns:
        Whether the C library is glibc, which can be told.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    settings = {_TRIM_THRESHOLD: _LARGEST, _TOP_PAD: _PAD, _MMAP_THRESHOLD: _LARGEST_MAPPED}
    taken = [mallopt(name, value) for name, value in settings.items()]
    return all(taken)
