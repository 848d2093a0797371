"""The facts about a machine that a table of measurements reports, without the machine's name."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

WIDE = ("amx_tile", "avx512_bf16", "avx512f", "avx2")
PACKAGES = ("jax", "flax", "torch", "transformers")


def describe(device: str, threads: int) -> dict[str, Any]:
    """Device, cores in use, the widest vector instructions, versions, and the machine's load."""
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        flags = []
    facts: dict[str, Any] = {
        "device": device,
        "threads": threads or os.cpu_count(),
        "instructions": [name for name in WIDE if name in flags] or [platform.machine()],
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }
    if hasattr(os, "getloadavg"):
        facts["load_before"] = round(os.getloadavg()[0], 1)
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
        try:
            facts["gpu"] = subprocess.run(query, check=True, capture_output=True, text=True).stdout.splitlines()[0]
        except (OSError, subprocess.CalledProcessError, IndexError):
            facts["gpu"] = "GPU that nvidia-smi does not report"
    return facts


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
