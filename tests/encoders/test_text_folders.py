"""Folders of text encoders in the spellings in which they are published."""

import json

import chex
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models

from emi_jax.encoders.pretrained import load_encoder
from emi_jax.encoders.registry import build_encoder
from emi_jax.encoders.sources import INITIAL, open_encoders
from emi_jax.errors import UserError
from emi_jax.models.rotary import Rotary, read_rotary
from tests.configs import tiny_stage1
from tests.golden.compare import assert_agrees
from tests.golden.make import CASES, GOLDEN, make_inputs, make_model, run_torch


def test_an_mlm_checkpoint_of_roberta_has_no_pooler_and_pools_the_class_token(folder):
    def change(tensors):
        return {f"roberta.{name}": value for name, value in tensors.items() if not name.startswith("pooler.")}

    encoder, params = load_encoder(folder("roberta", change))
    assert not encoder.config.add_pooling_layer
    assert "pooler" not in params
    golden = load_encoder(GOLDEN / "roberta")[1]
    chex.assert_trees_all_equal(params, {name: value for name, value in golden.items() if name != "pooler"})


def test_gte_is_read_in_the_names_of_its_checkpoints_and_of_its_modules(tmp_path):
    pytest.importorskip("torch")
    case = CASES["gte"]
    model, inputs = make_model(case, seed=3), make_inputs(case, seed=3)
    expected = run_torch(model, **inputs)
    names = []
    for spelling in (True, False):
        model.save_pretrained(tmp_path / str(spelling), save_original_format=spelling)
        names.append(set(load_file(tmp_path / str(spelling) / "model.safetensors")))
        assert_agrees(tmp_path / str(spelling), "text", inputs, expected)
    assert "encoder.layer.0.attention.qkv_proj.weight" in names[0]
    assert "layers.0.self_attn.q_proj.weight" in names[1]


def test_a_config_of_type_new_equals_the_same_of_type_gte(folder):
    new = {
        **{"model_type": "new", "rope_theta": 100.0, "rope_scaling": None, "rope_parameters": None},
        **{"pack_qkv": True, "position_embedding_type": "rope", "layer_norm_type": "layer_norm"},
        "auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"},
    }
    encoder, params = load_encoder(folder("gte", **new))
    assert encoder.config.model_type == "gte"
    assert (encoder.config.rope_theta, encoder.config.rope_factor) == (100.0, 1.0)
    golden, expected = load_encoder(GOLDEN / "gte")
    assert (golden.config.rope_theta, golden.config.rope_factor) == (100.0, 1.5)
    chex.assert_trees_all_equal(params, expected)


def test_a_sparse_config_of_type_new_has_its_own_defaults():
    config = build_encoder({"model_type": "new"}).config
    found = (config.vocab_size, config.max_position_embeddings, config.rope_theta, config.type_vocab_size)
    assert found == (30528, 2048, 10_000.0, 1)


@pytest.mark.parametrize(("theta", "scale", "width"), [(20_000.0, 8.0, 64), (500_000.0, 2.0, 64), (100.0, 3.0, 6)])
def test_ntk_scaling_equals_its_formula(theta, scale, width):
    """The lowest frequency is stretched by the factor times factor^(2/d), the highest by factor^(2/d)."""
    rotary = read_rotary({"type": "ntk", "factor": scale}, theta, width)
    exponents = np.arange(0, width, 2) / width
    expected = (theta * scale) ** -exponents / scale ** (2 / width)
    np.testing.assert_allclose(rotary.frequencies(width), expected, rtol=1e-5)


def test_rotary_parameters_are_read_in_both_spellings():
    assert read_rotary(None, 7.0, 4) == Rotary(7.0)
    assert read_rotary({"rope_type": "default", "rope_theta": 9}, 7.0, 4) == Rotary(9.0)
    assert read_rotary({"type": "linear", "factor": 2}, 7.0, 4) == Rotary(7.0, 2.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "new", "pack_qkv": False}, "pack_qkv = False"),
        ({"model_type": "new", "logn_attention_scale": True}, "logn_attention_scale = True"),
        ({"model_type": "new", "position_embedding_type": "absolute"}, "position_embedding_type = 'absolute'"),
        ({"model_type": "new", "rope_scaling": {"type": "ntk", "factor": 2, "mixed_b": 1}}, "'mixed_b': 1}"),
        ({"model_type": "gte", "rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "'rope_type': 'yarn'"),
        ({"model_type": "gte", "rope_parameters": {"rope_theta": "much"}}, "rope_theta = 'much'"),
        ({"model_type": "gte", "rope_parameters": [1]}, r"rope parameters are \[1\]: expected an object"),
        ({"model_type": "modernbert", "attention_bias": True}, "attention_bias = True"),
        ({"model_type": "modernbert", "classifier_pooling": "max"}, "classifier_pooling = 'max'"),
        ({"model_type": "modernbert", "layer_types": ["full_attention"]}, "expected 22, each of them"),
        ({"model_type": "modernbert", "global_attn_every_n_layers": 0}, "global_attn_every_n_layers = 0"),
        ({"model_type": "modernbert", "rope_parameters": 1}, "rope_parameters = 1"),
        (
            {"model_type": "modernbert", "rope_scaling": {"type": "linear", "factor": 2.0}},
            "full_attention are scaled by 2.0",
        ),
        ({"model_type": "distilbert", "n_heads": 5}, "hidden_size = 768 is not a multiple of num_attention_heads = 5"),
        ({"model_type": "distilbert", "dim": 0}, "dim = 0: expected 1 or more"),
        (
            {"model_type": "deberta-v2"},
            "'deberta-v2' is not a known family .*: bert, .*modernbert, new, roberta",
        ),
    ],
)
def test_unsupported_configs_are_one_line(change, message):
    with pytest.raises(ValueError, match=message):
        build_encoder(change)


def test_modernbert_is_read_in_its_older_spelling(folder):
    config = json.loads((GOLDEN / "modernbert" / "config.json").read_text())
    older = {
        **{"layer_types": None, "rope_parameters": None, "global_attn_every_n_layers": 3},
        **{"global_rope_theta": 160.0, "local_rope_theta": 10.0},
    }
    encoder, params = load_encoder(folder("modernbert", **older))
    golden, expected = load_encoder(GOLDEN / "modernbert")
    assert encoder.config == golden.config
    assert list(golden.config.layer_types) == config["layer_types"]
    chex.assert_trees_all_equal(params, expected)


def test_a_packed_tensor_of_another_size_is_named(folder):
    path = folder("modernbert", lambda tensors: {**tensors, "layers.0.mlp.Wi.weight": np.zeros((47, 16), np.float32)})
    with pytest.raises(UserError, match=r"layers\.0\.mlp\.Wi\.weight has the shape \(47, 16\), expected \(48, 16\)"):
        load_encoder(path)


def _open(config, folder):
    return open_encoders(
        config.model,
        ("text",),
        workdir=folder,
        init_from="",
        image_size=0,
        devices=jax.devices(),
        transcripts=lambda: ["so funny", "so sad"],
    )


@pytest.mark.parametrize(("name", "limit"), [("roberta", 10), ("distilbert", 12), ("gte", 12), ("modernbert", 12)])
def test_a_run_opens_and_saves_the_encoder_with_its_tokenizer(name, limit, folder, tmp_path):
    pretrained = folder(name)
    words = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "funny": 39}
    Tokenizer(models.WordLevel(words, unk_token="<unk>")).save(str(pretrained / "tokenizer.json"))
    config = tiny_stage1()
    config.model.text.config = dict.fromkeys(config.model.text.config)
    config.model.text.pretrained = str(pretrained)
    encoders = _open(config, tmp_path / "run")
    assert encoders.max_tokens == limit
    assert encoders.tokenizer("funny")["input_ids"] == [39]
    encoders.save(tmp_path / "run" / INITIAL, encoders.params)
    again = _open(config, tmp_path / "run")
    assert again.towers.text.encoder == encoders.towers.text.encoder
    assert again.tokenizer.pad_token_id == encoders.tokenizer.pad_token_id == 1
    chex.assert_trees_all_equal(again.params, encoders.params)


@pytest.mark.parametrize("model_type", ["roberta", "modernbert"])
def test_an_encoder_from_scratch_takes_the_special_ids_of_its_tokenizer(model_type, tmp_path):
    config = tiny_stage1()
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config.model.text.config = {**dict.fromkeys(config.model.text.config), **small, "model_type": model_type}
    encoders = _open(config, tmp_path)
    found = encoders.towers.text.encoder.config
    assert found.pad_token_id == encoders.tokenizer.pad_token_id == 0
    assert found.vocab_size == len(encoders.tokenizer)
    assert encoders.max_tokens == (63 if model_type == "roberta" else 64)
