"""How a tower prepares its encoder's inputs, from the files next to the weights."""

import json

import numpy as np
import pytest

from emi_jax.encoders.preprocessing import load_preprocessing
from emi_jax.errors import UserError


@pytest.mark.parametrize(
    ("role", "files", "expected"),
    [
        (
            "vision",
            {"preprocessor_config.json": {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}},
            {"image_mean": (0.1, 0.2, 0.3), "image_std": (0.4, 0.5, 0.6), "image_size": None},
        ),
        (
            "vision",
            {"preprocessor_config.json": {"do_normalize": False, "image_mean": [0.1, 0.2, 0.3]}},
            {"image_mean": (0, 0, 0), "image_std": (1, 1, 1), "image_size": None},
        ),
        ("audio", {"preprocessor_config.json": {"do_normalize": False, "sampling_rate": 16000}}, {"normalize": False}),
        (
            "audio",
            {"preprocessor_config.json": {"feature_extractor_type": "SeamlessM4TFeatureExtractor", "padding_value": 0}},
            {"normalize": False},
        ),
        ("audio", {"processor_config.json": {"feature_extractor": {"do_normalize": True}}}, {"normalize": True}),
        (
            "text",
            {"config.json": {"model_type": "bert"}, "tokenizer_config.json": {"model_max_length": 1e30}},
            {"max_tokens": 512},
        ),
        ("text", {"config.json": {"model_type": "roberta", "max_position_embeddings": 514}}, {"max_tokens": 512}),
        (
            "text",
            {
                "config.json": {"model_type": "clip", "text_config": {"max_position_embeddings": 77}},
                "tokenizer_config.json": {"model_max_length": 64},
            },
            {"max_tokens": 64},
        ),
    ],
)
def test_preprocessing_is_read_from_the_folder(role, files, expected, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert load_preprocessing(tmp_path, role) == expected


@pytest.mark.parametrize(
    ("role", "content", "message"),
    [
        ("vision", {"image_mean": [0.5, 0.5, 0.5]}, "lacks image_std"),
        ("audio", {"sampling_rate": 8000}, "needs audio at 8000 Hz"),
        (
            "audio",
            {"feature_extractor_type": "WhisperFeatureExtractor", "hop_length": 200},
            "hop_length is 200; the front end of this encoder has 160",
        ),
    ],
)
def test_unusable_preprocessing_is_refused(role, content, message, tmp_path):
    with pytest.raises(UserError, match=r"preprocessor_config\.json: no such file"):
        load_preprocessing(tmp_path, role)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        load_preprocessing(tmp_path, role)


def write(folder, **fields):
    (folder / "preprocessor_config.json").write_text(json.dumps(fields))


@pytest.mark.parametrize("rescale_factor", [1 / 255, 1 / 127.5, 0.01, 1])
def test_any_rescale_factor_gives_the_same_pixels_as_transformers(rescale_factor, tmp_path):
    fields = {"image_mean": [0.9, 1.0, 1.1], "image_std": [0.5, 0.6, 0.7], "rescale_factor": rescale_factor}
    write(tmp_path, **fields)
    found = load_preprocessing(tmp_path, "vision")
    pixels = np.arange(0, 256, dtype=np.float64)
    for channel in range(3):
        expected = (pixels * rescale_factor - fields["image_mean"][channel]) / fields["image_std"][channel]
        ours = (pixels / 255 - found["image_mean"][channel]) / found["image_std"][channel]
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


def test_one_mean_and_deviation_stand_for_all_channels(tmp_path):
    write(tmp_path, image_mean=0.5, image_std=0.25)
    found = load_preprocessing(tmp_path, "vision")
    assert found == {"image_mean": (0.5,) * 3, "image_std": (0.25,) * 3, "image_size": None}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_mean": "half", "image_std": [1, 1, 1]}, "found 'half', expected a number"),
        ({"image_mean": [0, 0, 0], "image_std": [1, 0, 1]}, "image_std is 0"),
        ({"image_mean": [0, 0, 0], "image_std": [1, 1, 1], "rescale_factor": 0}, "rescale_factor is 0"),
    ],
)
def test_malformed_values_are_one_line(fields, message, tmp_path):
    write(tmp_path, **fields)
    with pytest.raises(UserError, match=message):
        load_preprocessing(tmp_path, "vision")
