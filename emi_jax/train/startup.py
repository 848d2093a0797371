"""Process start-up: plain log lines, and a compilation cache in the user's cache folder."""

import logging
import os
import stat
import sys
from pathlib import Path

import absl.logging
import jax

from emi_jax.progress import LogHandler
from emi_jax.train.processes import is_first

SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
"""Environment variable; programs that compile faster are not cached."""


def start() -> None:
    """Sets up logging and the compilation cache.

    The cache is `JAX_COMPILATION_CACHE_DIR`, or a folder of the user. Its contents are executed, so if others could
    write to it, no cache is used and a warning is logged. It keeps all programs: those that JAX leaves out by default,
    because they compile within a second, are nine of ten and take most of a second start's compilation.
    """
    absl.logging.set_verbosity(absl.logging.WARNING)  # orbax logs every step of a save
    logging.getLogger("jax").setLevel(logging.WARNING)  # jax logs which accelerators are missing
    handler = LogHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger("emi_jax")
    root.handlers, root.propagate = [handler], False
    root.setLevel(logging.INFO if is_first() else logging.WARNING)

    if SHORTEST not in os.environ:
        jax.config.update(SHORTEST.lower(), 0.0)
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # the warnings advise installing torch
    named = os.environ.get("JAX_COMPILATION_CACHE_DIR", "")
    if "://" in named:
        return  # a bucket, which JAX has read from the environment
    cache: str | None = None
    try:
        folder = Path(named).expanduser() if named else default_cache()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if danger := _danger(folder.resolve()):
            root.warning("no compilation cache, every start compiles again: %s", danger)
        else:
            cache = str(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        root.warning("no compilation cache, every start compiles again: %s", error)
    jax.config.update("jax_compilation_cache_dir", cache)


def default_cache() -> Path:
    """A folder in the user's cache folder.

    Raises:
        RuntimeError: the user has no home folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emi_jax" / "compiled"


def _danger(cache: Path) -> str:
    """Why others could place executable code in a folder, in words; empty if they cannot."""
    owner = cache.stat().st_uid
    if owner != os.getuid():
        return f"{cache} belongs to user {owner}; name a folder of your own with JAX_COMPILATION_CACHE_DIR"
    for folder in (cache, *cache.parents):
        mode = folder.stat().st_mode
        if mode & 0o022 and (folder == cache or not mode & stat.S_ISVTX):
            return (
                f"{folder} can be written by others (mode {stat.S_IMODE(mode):o}), and what is in the cache is "
                "executed; chmod go-w it, or name another folder with JAX_COMPILATION_CACHE_DIR"
            )
    return ""
