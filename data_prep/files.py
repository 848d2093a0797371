"""Files that appear whole or not at all, a folder that one process at a time writes to, and what is no proper file."""

import contextlib
import errno
import fcntl
import logging
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from data_prep.errors import CorpusError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Error numbers of file systems without locks."""

POINTERS = (b"version https://git-lfs.github.com/spec/", b"/annex/objects/", b"../.git/annex/objects/")
LONGEST_POINTER = 1024

log = logging.getLogger("data_prep")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that gets its name when the block ends without an error, with its content on the disk.

    The unfinished file has a name of its own: processes that write the same file, on one machine or several, do not
    disturb each other.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
        partial = Path(file.name)
        try:
            yield file  # type: ignore[misc]  # a wrapper of a binary file
            file.flush()
            os.fsync(file.fileno())
            partial.chmod(0o666 & ~_umask())
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
        CorpusError: another process holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CorpusError(f"{folder}: another preparation is writing to it; wait for it or stop it") from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.warning("%s: its file system has no locks; make sure that no other preparation writes to it", folder)
        yield


def unusable(path: Path) -> str:
    """Why a path cannot be read as a file, in a few words; "" for a file that can be opened.

    Links without a target, folders, pipes and the small text files that Git LFS and git-annex put in the place of
    large files are what shared folders hold besides clips.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "is a folder, not a file"
        if not stat.S_ISREG(mode):
            return "is a pipe, socket or device, not a file"
        with path.open("rb") as file:
            start = file.read(LONGEST_POINTER)
    except FileNotFoundError:
        return f"is a link to {path.readlink()}, which does not exist" if path.is_symlink() else "no such file"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if not start:
        return "is an empty file"
    if len(start) < LONGEST_POINTER and start.startswith(POINTERS):
        return "is a pointer file, not the clip itself; fetch the clip with git lfs pull or git annex get"
    return ""


def _umask() -> int:
    """The process' mask of permissions, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
