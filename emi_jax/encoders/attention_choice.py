"""Which attention kernel a run takes: cuDNN's where its devices have it, XLA's elsewhere."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from emi_jax.errors import UserError
from emi_jax.kernels.attention import Implementation


def choose_attention(name: str, dtype: jnp.dtype, devices: Sequence[jax.Device]) -> Implementation:
    """The attention kernel of `jax.nn.dot_product_attention`, which would not take cuDNN's of itself.

    Args:
        name: "xla", "cudnn", or "auto" for cuDNN's where it can be had.
        dtype: of the operands; cuDNN's kernel takes half precision alone.
        devices: those that it will run on; cuDNN's kernel wants NVIDIA's Ampere generation or a later one.

    Raises:
        UserError: an unknown name, or cuDNN's kernel was asked for where it cannot be had.
    """
    if name not in ("auto", "xla", "cudnn"):
        raise UserError(f"config.model.attention={name!r} is unknown; take 'auto', 'xla' or 'cudnn'")
    fits = dtype in (jnp.bfloat16, jnp.float16) and all(map(_has_cudnn_attention, devices))
    if name == "cudnn" and not fits:
        raise UserError(
            f"config.model.attention='cudnn' needs half precision and NVIDIA GPUs of the Ampere generation or later; "
            f"found {dtype} on {devices[0].device_kind}; take config.model.attention='auto'"
        )
    return "cudnn" if fits and name != "xla" else "xla"


def _has_cudnn_attention(device: jax.Device) -> bool:
    if "cuda" not in device.client.platform_version:
        return False
    return int(device.compute_capability.split(".")[0]) >= 8
