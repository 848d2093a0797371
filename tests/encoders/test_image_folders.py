"""ViT folders in the spellings of other programs: sizes as pairs, one mean for all channels, other scales of pixels."""

import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from emi_jax.encoders.sources import open_encoders
from emi_jax.errors import UserError
from tests.configs import tiny_stage1
from tests.golden.make import GOLDEN
from tests.modules import run

PREPROCESSING = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255}


def write_folder(folder, config=None, preprocessing=None, patches=4):
    """A folder of the golden ViT, cut to images of `patches` patches of 8 x 8 pixels."""
    folder.mkdir()
    weights = load_file(GOLDEN / "vit" / "model.safetensors")
    (name,) = [name for name in weights if name.endswith("position_embeddings")]
    weights[name] = np.resize(weights[name], (1, 1 + patches, weights[name].shape[-1]))
    save_file(weights, folder / "model.safetensors")
    published = json.loads((GOLDEN / "vit" / "config.json").read_text()) | {"image_size": 16, "patch_size": 8}
    (folder / "config.json").write_text(json.dumps(published | (config or {})))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSING | (preprocessing or {})))
    return folder


def open_vision(folder, workdir):
    config = tiny_stage1()
    config.model.vision.pretrained = str(folder)
    config.model.vision.config.update(dict.fromkeys(config.model.vision.config))
    return open_encoders(
        config.model,
        ("vision",),
        workdir=workdir,
        init_from="",
        image_size=0,
        devices=jax.devices(),
        transcripts=lambda: [],
    )


@pytest.mark.parametrize(
    ("config", "preprocessing"),
    [
        ({"image_size": [16, 16]}, {}),
        ({"patch_size": [8, 8]}, {}),
        ({}, {"image_mean": 0.5, "image_std": 0.5}),
        ({}, {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}),
    ],
)
def test_folders_that_mean_the_same_give_the_same_features(config, preprocessing, tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, 16, 16, 3), np.uint8)
    features = []
    for folder in (write_folder(tmp_path / "plain"), write_folder(tmp_path / "other", config, preprocessing)):
        encoders = open_vision(folder, tmp_path / "run")
        assert encoders.image_size == 16
        tower, params = encoders.towers.vision, {"params": encoders.params["vision"]}
        features.append(np.asarray(tower.apply(params, frames, np.ones((1, 2), bool))[0]))
    assert np.ptp(features[0]) > 0.1
    np.testing.assert_allclose(features[1], features[0], atol=1e-5)


@pytest.mark.parametrize(
    "preprocessing",
    [
        {"do_center_crop": True, "crop_size": {"height": 24, "width": 24}, "size": {"shortest_edge": 32}},
        {"do_center_crop": False, "crop_size": 16, "size": {"height": 24, "width": 24}},
        {"size": 24},
        {"size": [24, 24]},
    ],
)
def test_frames_have_the_size_that_the_preprocessor_makes(preprocessing, tmp_path):
    """DINOv2 has positions for images of 518 pixels and is published with a preprocessor that makes 224."""
    encoders = open_vision(write_folder(tmp_path / "vit", {}, preprocessing), tmp_path / "run")
    assert encoders.image_size == 24
    assert encoders.params["vision"]["encoder"]["embedding"]["positions"].shape[1] == 1 + 9


@pytest.mark.parametrize("preprocessing", [{"size": {"shortest_edge": 24}}, {"size": {"height": 24, "width": 32}}])
def test_frames_have_the_size_of_the_config_where_the_preprocessor_states_none(preprocessing, tmp_path):
    encoders = open_vision(write_folder(tmp_path / "vit", {}, preprocessing), tmp_path / "run")
    assert encoders.image_size == 16


@pytest.mark.parametrize("name", ["dinov2", "dinov2_with_registers", "dinov3", "siglip_vision"])
def test_a_saved_run_gives_the_same_features(name, tmp_path):
    """With frames of another size than the table of positions is for."""
    shutil.copytree(GOLDEN / name, tmp_path / "pretrained")
    preprocessing = PREPROCESSING | {"image_mean": [0.1, 0.2, 0.3], "size": {"height": 30, "width": 30}}
    (tmp_path / "pretrained" / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    frames = np.random.default_rng(0).integers(0, 256, (1, 2, 30, 30, 3), np.uint8)
    opened = open_vision(tmp_path / "pretrained", tmp_path / "run")
    opened.save(tmp_path / "saved", opened.params)
    reopened = open_vision(tmp_path / "saved" / "vision", tmp_path / "other run")
    features = [
        run(encoders.towers.vision, encoders.params["vision"], frames, np.ones((1, 2), bool))[0]
        for encoders in (opened, reopened)
    ]
    assert np.ptp(features[0]) > 0.1
    np.testing.assert_array_equal(features[1], features[0])
    assert reopened.preprocessing == opened.preprocessing


def test_a_folder_for_oblong_images_is_refused(tmp_path):
    folder = write_folder(tmp_path / "oblong", {"image_size": [16, 32]}, patches=8)
    with pytest.raises(UserError, match=r"oblong: image_size is 16 x 32, but frames are square; use an encoder of"):
        open_vision(folder, tmp_path / "run")
