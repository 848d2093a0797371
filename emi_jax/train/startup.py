"""Once, before anything else: plain log lines and a compilation cache in the user's own cache folder."""

import logging
import os
import sys
from pathlib import Path

import absl.logging
import jax

from emi_jax.train.processes import is_first


def start() -> None:
    """Sets up logging and the persistent compilation cache."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    root = logging.getLogger("emi_jax")
    root.handlers, root.propagate = [handler], False
    root.setLevel(logging.INFO if is_first() else logging.WARNING)
    absl.logging.set_verbosity(absl.logging.WARNING)  # orbax tells every step of a save
    logging.getLogger("jax").setLevel(logging.WARNING)  # jax tells which accelerators are not there

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emi_jax" / "compiled"
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(cache))
