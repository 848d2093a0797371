"""Files that appear whole or not at all, and a folder that one process at a time may write to."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data_prep.errors import CorpusError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing, which comes to its name when the block ends well.

    The unfinished file's name holds the process' number: two processes at the same clip do not spoil each other's.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file in one go."""
    with whole_file(path) as file:
        file.write(content)


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keeps other preparations out of the folder; the system lifts the lock when this process ends, however it ends.

    Raises:
        CorpusError: another process is at it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CorpusError(f"{folder}: another preparation is writing to it; wait for it or stop it") from None
        yield
