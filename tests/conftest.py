"""Every test runs with eight virtual CPU devices, strict rank promotion and warnings as errors."""

import atexit
import os
import tempfile

# Most of a test's time is compilation: level 0 takes half of it, and tests time nothing.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # what one test, or one worker, has compiled serves the others
    compiled = tempfile.TemporaryDirectory(prefix="emi_jax_tests_")
    atexit.register(compiled.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
