"""The facts about a machine that a table of measurements reports, without the machine's name."""

import importlib.metadata
import os
import platform
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
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    if hasattr(os, "getloadavg"):
        facts["load_before"] = round(os.getloadavg()[0], 1)
    if device == "cuda":
        import torch

        facts["gpu"] = torch.cuda.get_device_name()
    return facts
