"""Chooses the attention implementation of an encoder: cuDNN where the devices support it, XLA elsewhere."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from emi_jax.errors import UserError
from emi_jax.kernels.attention import Implementation

LARGEST_HEAD, HEAD_MULTIPLE = 128, 8
"""cuDNN's fused attention takes heads of at most this width, and of multiples of this."""


def choose_attention(
    name: str, dtype: jnp.dtype, devices: Sequence[jax.Device], head_width: int, biased: bool = False
) -> Implementation:
    """The implementation of `jax.nn.dot_product_attention` for an encoder.

    Args:
        name: "xla", "cudnn", or "auto" for cuDNN's where it is available.
        dtype: of the operands; cuDNN supports half precision only.
        devices: the devices it will run on; cuDNN needs NVIDIA Ampere or later.
        head_width: features of each attention head; see `LARGEST_HEAD`.
        biased: whether a bias is added to the attention logits; cuDNN's function is used without one.

    Raises:
        UserError: an unknown name, or "cudnn" where it is not available.
    """
    if name not in ("auto", "xla", "cudnn"):
        raise UserError(f"config.model.attention={name!r} is unknown; use 'auto', 'xla' or 'cudnn'")
    half = dtype in (jnp.bfloat16, jnp.float16)
    fits = head_width <= LARGEST_HEAD and head_width % HEAD_MULTIPLE == 0
    available = half and fits and not biased and all(map(_has_cudnn_attention, devices))
    if name == "cudnn" and not available:
        raise UserError(
            "config.model.attention='cudnn' needs half precision, NVIDIA GPUs of the Ampere generation or later, and "
            f"heads whose width is a multiple of {HEAD_MULTIPLE} up to {LARGEST_HEAD}, without relative positions; "
            f"found {dtype} on {devices[0].device_kind} and heads of {head_width} {'with' if biased else 'without'} "
            "relative positions; use config.model.attention='auto'"
        )
    return "cudnn" if available and name != "xla" else "xla"


def head_width(config: Any) -> int:
    """Features of each attention head of an encoder."""
    return config.hidden_size // config.num_attention_heads


DROPOUTS = ("attention_dropout", "attention_probs_dropout_prob")
"""The names that Hugging Face's configs give to the dropout rate of attention weights."""


def attention_dropout(config: Any) -> float:
    """The dropout rate of an encoder's attention weights in training."""
    return max((getattr(config, name) for name in _dropouts(config)), default=0.0)


def without_attention_dropout(config: Any) -> Any:
    """The config of an encoder whose attention weights are not dropped out."""
    return dataclasses.replace(config, **dict.fromkeys(_dropouts(config), 0.0))


def _dropouts(config: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(config) if field.name in DROPOUTS]


def _has_cudnn_attention(device: jax.Device) -> bool:
    if "cuda" not in device.client.platform_version:
        return False
    return int(device.compute_capability.split(".")[0]) >= 8
