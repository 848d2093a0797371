"""Fields of an encoder's config that a run sets: dropout and masking of a loaded encoder, anything from scratch."""

import logging

import chex
import jax
import numpy as np
import pytest

from emi_jax.encoders.pretrained import load_encoder
from emi_jax.encoders.sources import Encoders, open_encoders
from emi_jax.errors import UserError
from emi_jax.models.towers import Towers
from tests.configs import tiny_stage1
from tests.golden.make import GOLDEN
from tests.modules import random_params


def test_dropout_and_masking_of_a_loaded_encoder_can_be_overridden(caplog):
    caplog.set_level(logging.INFO)
    published, params = load_encoder(GOLDEN / "wav2vec2")
    changes = {"layerdrop": 0.7, "attention_dropout": 0.2, "mask_time_prob": 0.3, "apply_spec_augment": False}
    encoder, same = load_encoder(GOLDEN / "wav2vec2", overrides=changes)
    assert {name: getattr(encoder.config, name) for name in changes} == changes
    assert encoder.config.hidden_dropout == published.config.hidden_dropout
    chex.assert_trees_all_equal(params, same)
    assert f"layerdrop {published.config.layerdrop}, overridden with 0.7" in caplog.text


@pytest.mark.parametrize(
    ("field", "value"), [("hidden_size", 8), ("num_hidden_layers", 7), ("hidden_act", "relu"), ("model_type", "hubert")]
)
def test_the_shape_of_a_loaded_encoder_is_refused_in_one_line(field, value):
    with pytest.raises(UserError, match=f"{field} is .* in the loaded encoder and cannot become {value!r}") as error:
        load_encoder(GOLDEN / "wav2vec2", overrides={field: value})
    assert len(str(error.value).splitlines()) == 1


def test_a_field_of_another_family_is_refused():
    with pytest.raises(UserError, match="a wav2vec2 encoder has no field hidden_dropout_prob"):
        load_encoder(GOLDEN / "wav2vec2", overrides={"hidden_dropout_prob": 0.1})


def opened(config, folder, init_from="") -> Encoders:
    return open_encoders(
        config.model,
        ("vision", "audio", "text"),
        workdir=folder,
        init_from=str(init_from),
        image_size=0,
        devices=jax.devices(),
        transcripts=lambda: ["so funny", "so sad"],
    )


@pytest.fixture(scope="module")
def stage1(tmp_path_factory):
    """The folder of a run of stage 1 with tiny encoders."""
    folder = tmp_path_factory.mktemp("stage1")
    config = tiny_stage1()
    encoders = opened(config, folder)
    image, audio, tokens = np.zeros((1, 16, 16, 3)), np.zeros((1, 4000)), np.zeros((1, 4), np.int32)
    inputs = {"vision": image.astype(np.float32), "audio": audio.astype(np.float32), "text": tokens}
    params = {
        name: {"encoder": random_params(getattr(encoders.towers, name).encoder, example)}
        for name, example in inputs.items()
    }
    encoders.save(folder / "encoders", params)
    return folder


def test_a_run_overrides_behaviour_and_saves_it(stage1, tmp_path):
    config = tiny_stage1()
    config.model.text.config.hidden_dropout_prob = 0.4
    encoders = opened(config, tmp_path, stage1)
    assert encoders.towers.text.encoder.config.hidden_dropout_prob == 0.4
    encoders.save(tmp_path / "initial", encoders.params)
    config.model.text.config.hidden_dropout_prob = None
    again = opened(config, tmp_path, "gone")
    assert again.towers.text.encoder.config.hidden_dropout_prob == 0.4


def test_a_run_refuses_other_shapes_of_loaded_encoders_and_names_the_field(stage1, tmp_path):
    config = tiny_stage1()
    config.model.text.config.hidden_size = 64
    message = r"config\.model\.text\.config, .*stage1.*: hidden_size is 16 in the loaded encoder and cannot become 64"
    with pytest.raises(UserError, match=message):
        opened(config, tmp_path, stage1)


def test_features_depend_on_shapes_and_not_on_dropout(stage1, tmp_path):
    config = tiny_stage1()
    facts = opened(config, tmp_path, stage1).preprocessing
    config.model.text.config.hidden_dropout_prob = 0.4
    assert opened(config, tmp_path, stage1).preprocessing == facts
    assert facts.keys() == {"vision", "audio", "text"}


def test_from_scratch_a_run_sets_any_field_of_the_family(tmp_path):
    config = tiny_stage1()
    config.model.vision.config.update(hidden_size=24, hidden_dropout_prob=0.3)
    encoder = opened(config, tmp_path).towers.vision.encoder
    assert (encoder.config.hidden_size, encoder.config.hidden_dropout_prob) == (24, 0.3)
    config.model.vision.config.attention_dropout = 0.1  # CLIP's name
    with pytest.raises(UserError, match=r"config\.model\.vision\.config: .*vit encoder has no field attention_dropout"):
        opened(config, tmp_path)


def test_square_pairs_are_sizes_and_oblong_images_are_refused(tmp_path):
    config = tiny_stage1()
    scratch = config.model.vision.scratch.to_dict()
    config.model.vision.scratch = scratch | {"image_size": [16, 16], "patch_size": [8, 8]}
    config.model.vision.config.update(image_size=None, patch_size=None)
    encoders = opened(config, tmp_path)
    assert isinstance(encoders.towers, Towers)
    assert encoders.image_size == 16
    config.model.vision.scratch = scratch | {"image_size": [16, 32]}
    with pytest.raises(UserError, match="image_size is 16 x 32, but frames are square"):
        opened(config, tmp_path)
