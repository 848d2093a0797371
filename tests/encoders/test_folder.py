"""Hugging Face folders: which files are opened, and what is malformed."""

import json

import chex
import pytest
from safetensors.numpy import load_file, save_file

from emi_jax.encoders.pretrained import load_encoder
from emi_jax.errors import UserError
from emi_jax.inputs.tokenizer import load_tokenizer, train_wordpiece
from tests.golden.make import GOLDEN


def test_shards_are_joined_and_a_lost_one_is_named(folder):
    path = folder("bert")
    tensors = load_file(path / "model.safetensors")
    (path / "model.safetensors").unlink()
    names, halves = sorted(tensors), {}
    for shard, part in (("model-1.safetensors", names[::2]), ("model-2.safetensors", names[1::2])):
        save_file({name: tensors[name] for name in part}, path / shard)
        halves.update(dict.fromkeys(part, shard))
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": halves}))
    chex.assert_trees_all_equal(load_encoder(path)[1], load_encoder(GOLDEN / "bert")[1])
    (path / "model-2.safetensors").unlink()
    with pytest.raises(UserError, match=r"not there: model-2\.safetensors"):
        load_encoder(path)


def test_only_safetensors_are_opened(folder):
    path = folder("bert")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"found pytorch_model\.bin, expected model\.safetensors.*python -m data_prep\.convert_weights"
    ):
        load_encoder(path)


def test_broken_files_are_named(folder):
    path = folder("bert")
    content = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"model\.safetensors: incomplete or damaged safetensors file"):
        load_encoder(path)
    (path / "model.safetensors").write_bytes(content)
    (path / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config\.json: not a JSON file"):
        load_encoder(path)
    (path / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        load_encoder(path)


def test_what_is_neither_a_folder_nor_a_known_id_is_named():
    with pytest.raises(UserError, match="no/such-model: no such folder"):
        load_encoder("no/such-model")
    with pytest.raises(UserError, match="/no/such/folder: no such folder"):
        load_encoder("/no/such/folder")


@pytest.mark.parametrize(
    "index",
    [
        {},
        [],
        {"weight_map": ["model.safetensors"]},
        {"weight_map": {"a": 1}},
        {"weight_map": {"a": "../outside.safetensors"}},
        {"weight_map": {"a": "/etc/outside.safetensors"}},
        {"weight_map": {"a": "pytorch_model.bin"}},
        {"weight_map": {"a": ".."}},
    ],
)
def test_a_malformed_index_or_a_shard_outside_the_folder_is_refused(index, folder, tmp_path):
    path = folder("bert")
    (path / "model.safetensors").rename(path.parent / "outside.safetensors")
    (path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match=r"model\.safetensors\.index\.json: ") as error:
        load_encoder(path)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": "wide"},
        {"hidden_size": None},
        {"num_attention_heads": 0},
        {"num_attention_heads": 5},
        {"hidden_dropout_prob": "none"},
        {"num_hidden_layers": [2]},
        {"vocab_size": True},
    ],
)
def test_a_malformed_config_is_one_line(fields, folder):
    with pytest.raises(UserError, match=rf"config\.json: .*{next(iter(fields))}") as error:
        load_encoder(folder("bert", **fields))
    assert len(str(error.value).splitlines()) == 1


def test_an_unknown_family_is_refused_before_its_weights_are_read_or_converted(folder):
    path = folder("bert", model_type="unknown-family")
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"config\.json: model_type = 'unknown-family' is not a known family"):
        load_encoder(path)


def test_a_tokenizer_with_custom_code_is_refused_and_not_executed(tmp_path):
    train_wordpiece(["so funny"], 40).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(UserError, match=r"no tokenizer in .*: "):
        load_tokenizer(tmp_path)
    assert not (tmp_path / "executed").exists()
