"""cuDNN's attention is chosen where it is available, and nowhere else."""

import types

import jax
import jax.numpy as jnp
import pytest

from emi_jax.encoders.attention_choice import choose_attention
from emi_jax.errors import UserError


def _device(version, capability=""):
    client = types.SimpleNamespace(platform_version=version)
    return types.SimpleNamespace(client=client, compute_capability=capability, device_kind="a device")


NEW, OLD, CPU = _device("PJRT C API\ncuda 12090", "9.0"), _device("cuda 12090", "7.5"), _device("cpu")


@pytest.mark.parametrize(
    ("name", "dtype", "devices", "expected"),
    [
        ("auto", jnp.bfloat16, [NEW, NEW], "cudnn"),
        ("auto", jnp.float16, [NEW], "cudnn"),
        ("auto", jnp.float32, [NEW], "xla"),
        ("auto", jnp.bfloat16, [NEW, OLD], "xla"),
        ("auto", jnp.bfloat16, [CPU], "xla"),
        ("xla", jnp.bfloat16, [NEW], "xla"),
        ("cudnn", jnp.bfloat16, [NEW], "cudnn"),
    ],
)
def test_cudnn_is_chosen_where_it_is_available(name, dtype, devices, expected):
    assert choose_attention(name, jnp.dtype(dtype), devices, 64) == expected


def test_relative_positions_need_the_plain_form():
    assert choose_attention("auto", jnp.dtype(jnp.bfloat16), [NEW], 64, biased=True) == "xla"
    with pytest.raises(UserError, match=r"without relative positions; found .* heads of 64 with relative positions"):
        choose_attention("cudnn", jnp.dtype(jnp.bfloat16), [NEW], 64, biased=True)


def test_an_unavailable_implementation_is_an_error():
    with pytest.raises(UserError, match=r"'cudnn' needs half precision, NVIDIA GPUs .* found bfloat16 on cpu"):
        choose_attention("cudnn", jnp.dtype(jnp.bfloat16), jax.devices(), 64)
    with pytest.raises(UserError, match=r"'cudnn' needs half precision, .* found float32 on a device"):
        choose_attention("cudnn", jnp.dtype(jnp.float32), [NEW], 64)
    with pytest.raises(UserError, match=r"config\.model.attention='flash' is unknown"):
        choose_attention("flash", jnp.dtype(jnp.bfloat16), [NEW], 64)


@pytest.mark.parametrize(("width", "expected"), [(64, "cudnn"), (128, "cudnn"), (60, "xla"), (136, "xla")])
def test_auto_falls_back_where_cudnn_does_not_take_the_head_width(width, expected):
    assert choose_attention("auto", jnp.dtype(jnp.bfloat16), [NEW], width) == expected
    if expected == "xla":
        with pytest.raises(UserError, match=f"found bfloat16 on a device and heads of {width} without"):
            choose_attention("cudnn", jnp.dtype(jnp.bfloat16), [NEW], width)
