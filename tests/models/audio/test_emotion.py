"""audeering's emotion model: its three outputs as channels next to the hidden states."""

import json
import logging

import jax
import numpy as np
import pytest

from benchmarks.proofs.torch_audio import emotion_model
from benchmarks.proofs.torch_encoders import run_torch
from emi_jax.encoders.pretrained import load_encoder, save_encoder
from emi_jax.errors import UserError
from tests.golden.make import GOLDEN
from tests.modules import DROPOUT, run

FOLDER = GOLDEN / "wav2vec2_emotion"


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(FOLDER / "golden.npz"))


def test_the_last_channels_are_the_heads_outputs_and_the_others_the_hidden_states(golden, caplog):
    caplog.set_level(logging.INFO)
    inputs = golden["inputs"], golden["mask"]
    encoder, params = load_encoder(FOLDER)
    assert "a regression head, whose 3 outputs are appended to each step" in caplog.text
    sequence, pooled = run(encoder, params, *inputs)
    plain, without = load_encoder(FOLDER, overrides={"emotion_dimensions": 0})
    assert "emotion" not in without
    hidden, mean = run(plain, without, *inputs)
    assert (sequence.shape[-1], hidden.shape[-1]) == (19, 16)
    np.testing.assert_allclose(sequence[..., :16], hidden, atol=1e-5)
    np.testing.assert_allclose(pooled[..., :16], mean, atol=1e-5)
    head = params["emotion"]
    expected = np.tanh(mean @ head["hidden"]["kernel"] + head["hidden"]["bias"]) @ head["output"]["kernel"]
    np.testing.assert_allclose(pooled[..., 16:], expected + head["output"]["bias"], atol=1e-5)


def test_the_published_class_opens_what_is_saved_with_equal_outputs(golden, tmp_path):
    pytest.importorskip("torch")
    from transformers import Wav2Vec2Config

    save_encoder(tmp_path, *load_encoder(FOLDER))
    model = type(emotion_model(Wav2Vec2Config.from_pretrained(tmp_path))).from_pretrained(tmp_path).eval()
    result = run_torch(model, golden["inputs"], golden["mask"])
    for name in ("sequence", "pooled"):
        np.testing.assert_allclose(result[name], golden[name], atol=1e-6)
    assert json.loads((tmp_path / "config.json").read_text())["emotion_dimensions"] == 3


def test_a_clip_without_sound_has_no_emotion(golden):
    encoder, params = load_encoder(FOLDER)
    _, pooled = run(encoder, params, golden["inputs"], np.zeros_like(golden["mask"]))
    np.testing.assert_array_equal(pooled, 0)


def test_the_head_trains_with_its_dropout(golden):
    encoder, params = load_encoder(FOLDER, overrides={"final_dropout": 0.5, "layerdrop": 0.0})

    def loss(p):
        return encoder.apply({"params": p}, golden["inputs"], golden["mask"], False, rngs=DROPOUT)[0][..., 16:].sum()

    gradient = jax.jit(jax.grad(loss))(params)["emotion"]
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_another_number_of_outputs_is_refused():
    with pytest.raises(UserError, match="emotion_dimensions is 3 in the loaded encoder and cannot become 2"):
        load_encoder(FOLDER, overrides={"emotion_dimensions": 2})
