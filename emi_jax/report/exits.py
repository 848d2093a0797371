"""How a program ends: its exit code, and its last message."""

import errno
import sys
import traceback

from emi_jax.errors import UserError
from emi_jax.report.terminal import printable

BUG, FAILED, STOPPED = 1, 2, 75
"""Exit codes: an unexpected error; one that its message explains; stopped by a signal, everything saved to resume."""
REFUSED = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG),
)
"""Errors of a disk that is full or read-only, of a file that belongs to others, and of a path that cannot be one."""


def is_explained(error: Exception) -> bool:
    """Whether the message of an error says all that a user needs."""
    return isinstance(error, UserError) or (isinstance(error, OSError) and error.errno in REFUSED)


def report(error: Exception) -> int:
    """Prints an error, with its traceback unless its message explains it; returns the exit code."""
    if is_explained(error):
        return fail(error)
    traceback.print_exception(error)
    return BUG


def fail(error: Exception) -> int:
    """Prints an error in one line; returns the exit code."""
    print("error:", printable(" ".join(str(error).split())), file=sys.stderr)
    return FAILED
