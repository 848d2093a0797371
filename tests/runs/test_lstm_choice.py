"""cuDNN's LSTM runs where it is asked for and available, and nowhere else."""

import types

import jax
import pytest

from emi_jax.errors import UserError
from emi_jax.runs.from_config import choose_lstm

GPU = types.SimpleNamespace(client=types.SimpleNamespace(platform_version="cuda 12090"), device_kind="a GPU")
CPU = jax.devices("cpu")[0]


def test_the_lstm_that_is_asked_for_is_chosen():
    assert choose_lstm("cudnn", [GPU]) == "cudnn"
    assert choose_lstm("xla", [GPU]) == choose_lstm("xla", [CPU]) == "xla"


def test_an_unavailable_or_unknown_implementation_is_an_error():
    with pytest.raises(UserError, match=r"config\.model\.lstm='cudnn': cuDNN's LSTM runs on NVIDIA GPUs alone"):
        choose_lstm("cudnn", [CPU])
    with pytest.raises(UserError, match=r"config\.model\.lstm='auto' is unknown; use 'xla' or 'cudnn'"):
        choose_lstm("auto", [GPU])
