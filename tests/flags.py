"""XLA's flags for tests. Most of their time is compilation, and they time nothing."""

from benchmarks.proofs.kill_training import QUICK


def quick(devices: int) -> str:
    """`XLA_FLAGS` of so many CPU devices, with code compiled fast."""
    return f"--xla_force_host_platform_device_count={devices} {QUICK}"
