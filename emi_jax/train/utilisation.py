"""The peak of known devices, with which a run reports its model FLOPs utilisation (MFU)."""

from typing import Any

import jax
import jax.numpy as jnp

TERA = 1e12
PEAKS = {
    "NVIDIA A100": (312, 156),
    "NVIDIA H100 PCIe": (756, 378),
    "NVIDIA H100 NVL": (835, 417),
    "NVIDIA H100": (989, 494),
    "NVIDIA H200 NVL": (835, 417),
    "NVIDIA H200": (989, 494),
    "NVIDIA B200": (2250, 1125),
    "NVIDIA L40S": (362, 183),
    "NVIDIA L4": (121, 60),
    "NVIDIA GeForce RTX 3090": (71, 35.6),
    "NVIDIA GeForce RTX 4090": (165, 82.6),
    "TPU v4": (275, 275),
    "TPU v5 lite": (197, 197),
    "TPU v5e": (197, 197),
    "TPU v5p": (459, 459),
    "TPU v6 lite": (918, 918),
    "TPU v6e": (918, 918),
}
"""How device kinds begin -> TFLOP/s of dense matrix products with bfloat16 and with float32 operands.

From the makers' data sheets, where those of NVIDIA with sparsity are halved. JAX's default for float32 is TF32 on
NVIDIA's GPUs and bfloat16 passes on TPUs.
"""


def peak_flops(device_kind: str, dtype: Any) -> float | None:
    """Floating-point operations per second of matrix products at best; None for an unknown device or precision."""
    half = jnp.dtype(dtype) == jnp.bfloat16
    precision: str | None = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    known = [name for name in PEAKS if device_kind.startswith(name)]
    if not known or not (half or precision in (None, "default")):
        return None
    return TERA * PEAKS[max(known, key=len)][0 if half else 1]
