"""Detects paths that cannot be read as regular files."""

import stat
from pathlib import Path

POINTERS = (b"version https://git-lfs.github.com/spec/", b"/annex/objects/", b"../.git/annex/objects/")
"""First bytes of the pointer files that replace large files in Git LFS and git-annex."""
LONGEST_POINTER = 1024


def is_pointer(path: Path) -> bool:
    """Whether a file only says which large file Git LFS or git-annex has not fetched yet."""
    try:
        if not path.is_file() or path.stat().st_size >= LONGEST_POINTER:
            return False
        with path.open("rb") as file:
            return file.read(LONGEST_POINTER).startswith(POINTERS)
    except OSError:
        return False


def unusable(path: Path) -> str:
    """Says in a few words why a path cannot be read as a file; "" for a file that can be opened.

    In addition to clips, shared folders may hold broken links, folders, pipes, and the pointer files that replace large
    files in Git LFS and git-annex.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "is a folder, not a file"
        if not stat.S_ISREG(mode):
            return "is a pipe, socket or device, not a file"
        with path.open("rb") as file:
            start = file.read(1)
    except FileNotFoundError:
        return f"is a link to {path.readlink()}, which does not exist" if path.is_symlink() else "no such file"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"
    if not start:
        return "is an empty file"
    if is_pointer(path):
        return "is a pointer file, not the clip itself; fetch the clip with git lfs pull or git annex get"
    return ""
