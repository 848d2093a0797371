"""Every test runs with eight virtual CPU devices, strict rank promotion and warnings as errors."""

import atexit
import os
import tempfile

from tests.flags import quick

os.environ.setdefault("XLA_FLAGS", quick(devices=8))
os.environ.setdefault("HF_HUB_OFFLINE", "1")

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # what one test, or one worker, has compiled serves the others
    compiled = tempfile.TemporaryDirectory(prefix="emi_jax_tests_")
    atexit.register(compiled.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
