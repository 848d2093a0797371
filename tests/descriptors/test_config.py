"""Configs of the descriptors: JSON and back, and the errors of their fields."""

import dataclasses
import json

import numpy as np
import pytest

from emi_jax.descriptors.face import FaceDescriptorsConfig, describe_faces
from emi_jax.descriptors.voice import SETS, VoiceDescriptorsConfig, describe_voice
from emi_jax.descriptors.words import WordDescriptorsConfig, describe_words

CHANGED = (
    VoiceDescriptorsConfig(hop_seconds=0.01, sets=("f0", "log_mel"), n_mels=24),
    FaceDescriptorsConfig(image_size=32, landmarks=False, bins=6),
    WordDescriptorsConfig(buckets=32, ngrams=(2, 2)),
)


@pytest.mark.parametrize("config", CHANGED, ids=lambda config: config.model_type)
def test_config_survives_json(config):
    stored = json.loads(json.dumps({"model_type": config.model_type, **dataclasses.asdict(config)}))
    assert type(config).from_dict(stored) == config
    assert type(config).from_dict({}) == type(config)()
    assert hash(config) != hash(type(config)())


@pytest.mark.parametrize("name", SETS)
def test_hidden_size_is_the_width_of_each_voice_set(name):
    config = VoiceDescriptorsConfig(sets=(name,), n_mels=24, n_mfcc=13)
    described, _ = describe_voice(config, np.zeros(1600, np.int16))
    expected = {"mfcc": 13, "mfcc_delta": 13, "log_mel": 24, "energy": 1, "f0": 2, "spectral": 5}[name]
    assert described.shape[1] == config.hidden_size == expected


@pytest.mark.parametrize(("landmarks", "block", "expected"), [(True, 2, 1764 + 14), (False, 2, 1764), (False, 1, 576)])
def test_hidden_size_is_the_width_of_face_descriptors(landmarks, block, expected):
    config = FaceDescriptorsConfig(landmarks=landmarks, block=block)
    described = describe_faces(config, np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 5, 2), np.float32))
    assert described.shape[1] == config.hidden_size == expected


def test_hidden_size_is_the_width_of_word_descriptors():
    config = WordDescriptorsConfig(buckets=100)
    assert describe_words(config, ["word"]).shape[1] == config.hidden_size == 100


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (VoiceDescriptorsConfig, "hop_seconds", 0),
        (VoiceDescriptorsConfig, "hop_seconds", float("nan")),
        (VoiceDescriptorsConfig, "sets", []),
        (VoiceDescriptorsConfig, "sets", ["mfcc", "mfcc"]),
        (VoiceDescriptorsConfig, "sets", ["pitch"]),
        (VoiceDescriptorsConfig, "sets", "mfcc"),
        (VoiceDescriptorsConfig, "n_fft", 511),
        (VoiceDescriptorsConfig, "n_fft", 512.0),
        (VoiceDescriptorsConfig, "n_mels", 0),
        (VoiceDescriptorsConfig, "n_mels", 200),
        (VoiceDescriptorsConfig, "n_mfcc", 41),
        (VoiceDescriptorsConfig, "f0_frame", 10**6),
        (VoiceDescriptorsConfig, "f0_min", 20),
        (VoiceDescriptorsConfig, "f0_max", 60),
        (FaceDescriptorsConfig, "image_size", 60),
        (FaceDescriptorsConfig, "image_size", True),
        (FaceDescriptorsConfig, "cell", 0),
        (FaceDescriptorsConfig, "block", 9),
        (FaceDescriptorsConfig, "bins", 1),
        (FaceDescriptorsConfig, "equalize", 1),
        (WordDescriptorsConfig, "buckets", 0),
        (WordDescriptorsConfig, "ngrams", [5, 3]),
        (WordDescriptorsConfig, "ngrams", [3, 4, 5]),
        (WordDescriptorsConfig, "lexicon", None),
    ],
)
def test_invalid_value_is_refused_by_name(kind, field, value):
    with pytest.raises(ValueError, match=rf"^{kind.model_type} config: {field} = .*; expected "):
        kind.from_dict({field: value})


def test_unknown_field_and_other_model_type_are_refused():
    with pytest.raises(ValueError, match="has no field hop; it has hop_seconds"):
        VoiceDescriptorsConfig.from_dict({"hop": 320})
    with pytest.raises(ValueError, match="model_type = 'vit': expected 'face_descriptors'"):
        FaceDescriptorsConfig.from_dict({"model_type": "vit"})
