"""Once, before anything else: plain log lines, a compilation cache in the user's cache folder."""

import logging
import os
import sys
from pathlib import Path

import absl.logging
import jax

from emi_jax.errors import UserError
from emi_jax.train.processes import is_first


def start() -> None:
    """Sets up logging and the compilation cache.

    The cache is `JAX_COMPILATION_CACHE_DIR`, or one of the user's own.

    Raises:
        UserError: others can write to the cache.
    """
    absl.logging.set_verbosity(absl.logging.WARNING)  # orbax tells every step of a save
    logging.getLogger("jax").setLevel(logging.WARNING)  # jax tells which accelerators are not there
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger("emi_jax")
    root.handlers, root.propagate = [handler], False
    root.setLevel(logging.INFO if is_first() else logging.WARNING)

    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # the advice is to install torch
    cache = Path(os.environ.get("JAX_COMPILATION_CACHE_DIR") or default_cache())
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        root.warning("no compilation cache: %s", error)
        return
    _check_owned(cache)
    jax.config.update("jax_compilation_cache_dir", str(cache))


def default_cache() -> Path:
    """In the user's own cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emi_jax" / "compiled"


def _check_owned(cache: Path) -> None:
    found = cache.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise UserError(
            f"compilation cache {cache} can be written by others (mode {found.st_mode & 0o777:o}, owner "
            f"{found.st_uid}), and what is in it is run: chmod 700 it, or name another with JAX_COMPILATION_CACHE_DIR"
        )
