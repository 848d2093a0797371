"""cuDNN's LSTM is chosen where it is available, and nowhere else."""

import logging
import types

import jax
import pytest

from emi_jax.errors import UserError
from emi_jax.runs.from_config import choose_lstm

GPU = types.SimpleNamespace(client=types.SimpleNamespace(platform_version="cuda 12090"), device_kind="a GPU")
CPU = jax.devices("cpu")[0]


@pytest.mark.parametrize(
    ("name", "device", "expected"),
    [("auto", GPU, "cudnn"), ("cudnn", GPU, "cudnn"), ("xla", GPU, "xla"), ("auto", CPU, "xla"), ("xla", CPU, "xla")],
)
def test_cudnn_is_chosen_where_it_is_available(name, device, expected):
    assert choose_lstm(name, [device]) == expected


def test_the_log_says_why_a_scan_is_used(caplog):
    caplog.set_level(logging.INFO, "emi_jax")
    choose_lstm("auto", [CPU])
    assert caplog.messages == ["LSTM: a scan by XLA (cuDNN's LSTM runs on NVIDIA GPUs alone, and the device is cpu)"]


def test_an_unavailable_or_unknown_implementation_is_an_error():
    with pytest.raises(UserError, match=r"config\.model\.lstm='cudnn': cuDNN's LSTM runs on NVIDIA GPUs alone"):
        choose_lstm("cudnn", [CPU])
    with pytest.raises(UserError, match=r"config\.model\.lstm='pytorch' is unknown; use 'auto', 'xla' or 'cudnn'"):
        choose_lstm("pytorch", [GPU])
