"""Vision encoders of published sizes and of other image sizes, and the vision part of SigLIP."""

import logging
import math

import numpy as np
import pytest

from emi_jax.encoders.pretrained import load_encoder
from emi_jax.encoders.registry import build_encoder
from emi_jax.encoders.tensors import describe
from emi_jax.errors import UserError
from tests.golden.compare import assert_agrees, assert_close
from tests.golden.make import CASES, GOLDEN, make_inputs, run_torch
from tests.modules import random_params, run

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")


def shape(width, layers, heads, image, patch, **others):
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": image,
        "patch_size": patch,
        **others,
    }


@pytest.mark.parametrize(
    ("model", "config", "fields"),
    [
        pytest.param("ViTModel", "ViTConfig", shape(1280, 32, 16, 224, 14, intermediate_size=5120), id="ViT-H/14"),
        pytest.param(
            "CLIPVisionModel", "CLIPVisionConfig", shape(1024, 24, 16, 336, 14, intermediate_size=4096), id="CLIP ViT-L"
        ),
        pytest.param("Dinov2Model", "Dinov2Config", shape(1536, 40, 24, 518, 14, use_swiglu_ffn=True), id="DINOv2-g"),
        pytest.param(
            "SiglipVisionModel",
            "SiglipVisionConfig",
            shape(1152, 27, 16, 384, 14, intermediate_size=4304),
            id="SigLIP-so400m",
        ),
    ],
)
def test_large_sizes_follow_from_the_config(model, config, fields):
    published = getattr(transformers, config)(**fields)
    with torch.device("meta"):
        theirs = getattr(transformers, model)(published)
    expected = sum(value.numel() for name, value in theirs.named_parameters() if "mask_token" not in name)
    tensors = describe(build_encoder(published.to_dict()))
    assert sum(math.prod(tensor.ours) for tensor in tensors.values()) == expected


@pytest.mark.parametrize("patches", [5, 1])
@pytest.mark.parametrize("name", ["clip_vision", "siglip_vision", "dinov2", "dinov2_with_registers", "dinov3"])
def test_positions_are_interpolated_as_hugging_face_does(name, patches, caplog):
    caplog.set_level(logging.INFO)
    size = CASES[name].fields["patch_size"] * patches + 1
    encoder, params = load_encoder(GOLDEN / name, image_size=size)
    assert encoder.config.image_size == size
    assert ("interpolated" in caplog.text) == (name != "dinov3")  # it has no table
    pixels = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype(np.float32)
    model = transformers.AutoModel.from_pretrained(GOLDEN / name).eval()
    option = {} if "dino" in name else {"interpolate_pos_encoding": True}  # DINO always does
    with torch.no_grad():
        expected = model(torch.tensor(pixels).permute(0, 3, 1, 2), **option)
    sequence, pooled = run(encoder, params, pixels)
    assert_close(sequence, expected.last_hidden_state.numpy()[:, -(patches**2) :])
    assert_close(pooled, expected.pooler_output.numpy())


def test_the_vision_part_of_a_whole_siglip(tmp_path):
    case = CASES["siglip_vision"]
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
    model = transformers.SiglipModel(transformers.SiglipConfig(vision_config=case.fields, text_config=text)).eval()
    model.save_pretrained(tmp_path)
    inputs = make_inputs(case, seed=1)
    assert_agrees(tmp_path, "vision", inputs, run_torch(model.vision_model, **inputs))
    with pytest.raises(UserError, match=r"siglip .* role must be one of \('vision',\), is 'text'"):
        load_encoder(tmp_path, "text")


def test_without_the_pooling_head_of_siglip_the_patches_are_averaged():
    encoder = build_encoder(
        {"model_type": "siglip_vision_model", **CASES["siglip_vision"].fields, "vision_use_head": False}
    )
    pixels = make_inputs(CASES["siglip_vision"])["inputs"]
    params = random_params(encoder, pixels)
    sequence, pooled = run(encoder, params, pixels)
    np.testing.assert_allclose(pooled, sequence.mean(1), atol=1e-5)
    assert "pooling" not in params
