"""cuDNN's attention is chosen where it is available, and nowhere else."""

import logging
import types

import jax
import jax.numpy as jnp
import pytest

from emi_jax.encoders.attention_choice import attention_dropout, choose_attention
from emi_jax.encoders.sources import open_encoders
from emi_jax.errors import UserError
from tests.configs import tiny_stage1


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


@pytest.mark.parametrize(
    ("modality", "fields"),
    [
        ("text", {"model_type": "bert", "attention_probs_dropout_prob": 0.2}),
        ("text", {"model_type": "distilbert", "attention_dropout": 0.2}),
        ("audio", {"attention_dropout": 0.2}),
    ],
)
def test_dropout_of_attention_weights_is_left_out_or_reported(modality, fields, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "emi_jax")
    config = tiny_stage1()
    config.model.dtype = "bfloat16"
    if fields.get("model_type") == "distilbert":  # its sizes have names of their own
        config.model[modality].config.update(dict.fromkeys(config.model[modality].config))
        fields |= {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}
    config.model[modality].config.update(fields)

    def rate(kept):
        config.model.attention_dropout = kept
        encoders = open_encoders(
            config.model,
            (modality,),
            workdir=tmp_path,
            init_from="",
            image_size=0,
            devices=[NEW],
            transcripts=lambda: ["so funny", "so sad"],
        )
        encoder = getattr(encoders.towers, modality).encoder
        assert encoder.attention_implementation == "cudnn"
        return attention_dropout(encoder.config)

    assert rate(kept=True) == 0.2
    assert "cuDNN's cannot drop out weights and the encoder's rate is 0.2; --config.model.attention_dropout=False" in (
        caplog.text
    )
    caplog.clear()
    assert rate(kept=False) == 0.0
    assert not caplog.text
