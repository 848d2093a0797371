"""XLA's flags for tests. Most of their time is compilation, and they time nothing."""


def quick(devices: int) -> str:
    """`XLA_FLAGS` of so many CPU devices, with code compiled fast: LLVM at level 0, fusions not by way of MLIR."""
    fast = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    return f"--xla_force_host_platform_device_count={devices} {fast}"
