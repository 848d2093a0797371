"""What is no proper file."""

import stat
from pathlib import Path

POINTERS = (b"version https://git-lfs.github.com/spec/", b"/annex/objects/", b"../.git/annex/objects/")
"""How the small text files begin that Git LFS and git-annex put in the place of large files."""
LONGEST_POINTER = 1024


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
