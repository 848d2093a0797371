"""The two errors that preparation raises for what it finds on disk."""

from pathlib import Path

from emi_jax.errors import UserError
from emi_jax.report.terminal import printable


class CorpusError(UserError):
    """A corpus, table or dataset is unusable; the message gives the file, the row, the found and the expected value."""


class ClipError(Exception):
    """A clip cannot be read. Preparation records it in the report and continues with the others.

    Args:
        path: the file, or the clip's id if the error is not due to a single file.
        why: what is wrong with it, in one line.
    """

    def __init__(self, path: str | Path, why: str):
        super().__init__(str(path), why)  # both as args, so that the error can be pickled
        self.path, self.why = printable(str(path)), printable(why)

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"
