"""Audio encoders of every family in a run: opened, saved, opened again, with their front ends and times."""

import json

import jax
import numpy as np
import pytest
from transformers import AutoFeatureExtractor

from emi_jax.encoders.sources import open_encoders
from emi_jax.errors import UserError
from tests.configs import tiny_stage1
from tests.golden.make import CASES, GOLDEN
from tests.modules import run

FAMILIES = sorted(name for name, case in CASES.items() if case.role == "audio" and case.golden)
EXTRACTORS = {
    "whisper": {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80, "chunk_length": 30},
    "wav2vec2_bert": {"feature_extractor_type": "SeamlessM4TFeatureExtractor", "stride": 2, "padding_value": 1},
}


def opened(folder, workdir, **fields):
    config = tiny_stage1()
    config.model.audio.pretrained = str(folder)
    config.model.audio.config.update(dict.fromkeys(config.model.audio.config))
    config.model.audio.config.update(fields)
    return open_encoders(
        config.model,
        ("audio",),
        workdir=workdir,
        init_from="",
        image_size=0,
        devices=jax.devices(),
        transcripts=list,
    )


@pytest.fixture
def folder(tmp_path):
    """A function that writes a golden folder with a preprocessor_config.json."""

    def write(name):
        source = tmp_path / name
        source.mkdir()
        for file in ("config.json", "model.safetensors"):
            (source / file).write_bytes((GOLDEN / name / file).read_bytes())
        extractor = EXTRACTORS.get(name, {"do_normalize": True, "sampling_rate": 16_000})
        (source / "preprocessor_config.json").write_text(json.dumps(extractor))
        return source

    return write


@pytest.mark.parametrize("name", FAMILIES)
def test_saved_encoders_give_the_same_features(name, folder, tmp_path):
    audio = np.random.default_rng(0).integers(-9000, 9000, (2, 2500), np.int16)
    mask = np.arange(2500)[None] < np.array([2500, 1300])[:, None]
    encoders = opened(folder(name), tmp_path / "run")
    features = run(encoders.towers.audio, encoders.params["audio"], audio, mask)
    encoders.save(tmp_path / "run" / "initial", encoders.params)
    again = opened("gone", tmp_path / "run")
    repeated = run(again.towers.audio, again.params["audio"], audio, mask)
    for ours, expected in zip(repeated, features, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert again.preprocessing == encoders.preprocessing
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "run" / "initial" / "audio")
    expected = EXTRACTORS.get(name, {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True})
    assert type(extractor).__name__ == expected["feature_extractor_type"]
    assert encoders.towers.audio.normalize == (name not in EXTRACTORS)


@pytest.mark.parametrize("name", ["whisper", "wav2vec2_bert"])
def test_from_scratch_the_waveform_is_not_normalised(name, folder, tmp_path):
    config = json.loads((folder(name) / "config.json").read_text())
    tiny = tiny_stage1()
    tiny.model.audio.scratch = {key: value for key, value in config.items() if value is not None}
    tiny.model.audio.config.update(dict.fromkeys(tiny.model.audio.config))
    encoders = open_encoders(
        tiny.model, ("audio",), workdir=tmp_path, init_from="", image_size=0, devices=jax.devices(), transcripts=list
    )
    assert not encoders.towers.audio.normalize


def test_a_window_of_whisper_is_part_of_the_features_and_of_what_is_saved(folder, tmp_path):
    source = folder("whisper")
    whole, half = opened(source, tmp_path / "whole"), opened(source, tmp_path / "half", chunk_length=0.1)
    assert half.towers.audio.encoder.config.window == 5
    assert half.preprocessing != whole.preprocessing
    half.save(tmp_path / "half" / "initial", half.params)
    saved = json.loads((tmp_path / "half" / "initial" / "audio" / "preprocessor_config.json").read_text())
    assert saved["chunk_length"] == 0.1
    assert opened(source, tmp_path / "half", chunk_length=0.1).towers.audio.encoder.config.window == 5
    with pytest.raises(UserError, match=r"config\.model\.audio\.config, .*: chunk_length = 1: expected a multiple"):
        opened(source, tmp_path / "other", chunk_length=1)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("wavlm", {"layerdrop": 0.3, "attention_dropout": 0.2, "mask_time_prob": 0.4, "apply_spec_augment": False}),
        ("data2vec_audio", {"layerdrop": 0.3, "hidden_dropout": 0.2, "mask_feature_prob": 0.4}),
        ("whisper", {"encoder_layerdrop": 0.3, "dropout": 0.2, "apply_spec_augment": True}),
        ("wav2vec2_bert", {"layerdrop": 0.3, "conformer_conv_dropout": 0.2, "mask_time_length": 4}),
        ("wav2vec2_emotion", {"final_dropout": 0.3}),
    ],
)
def test_a_run_overrides_dropout_and_masking_but_no_shape(name, changes, folder, tmp_path):
    source = folder(name)
    encoders = opened(source, tmp_path / "run", **changes)
    config = encoders.towers.audio.encoder.config
    assert {field: getattr(config, field) for field in changes} == changes
    assert encoders.preprocessing == opened(source, tmp_path / "run").preprocessing
    width = "d_model" if name == "whisper" else "hidden_size"
    with pytest.raises(UserError, match=f"{width} is 16 in the loaded encoder and cannot become 8"):
        opened(source, tmp_path / "run", **{width: 8})
