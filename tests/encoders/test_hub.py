"""Weights by id and revision of the Hugging Face hub, from a server on this machine in its place."""

import logging
import shutil

import chex
import jax
import pytest
from huggingface_hub import constants

from emi_jax.encoders.folder import find_folder
from emi_jax.encoders.preprocessing import load_preprocessing
from emi_jax.encoders.pretrained import load_encoder
from emi_jax.encoders.sources import open_encoders
from emi_jax.errors import UserError
from emi_jax.inputs.tokenizer import load_tokenizer, train_wordpiece
from tests.configs import tiny_stage1
from tests.golden.make import GOLDEN
from tests.hub import point_at, serve

MAIN, PULL_REQUEST = "a" * 40, "b" * 40


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A repository with safetensors in a pull request alone, one of an unknown family; the paths of the requests."""
    weights = tmp_path / "repository"
    shutil.copytree(GOLDEN / "bert", weights)
    train_wordpiece(["so funny", "so sad"], 40).save_pretrained(weights)
    for other in ("pytorch_model.bin", "model.fp32-00001-of-00002.safetensors"):
        (weights / other).write_bytes(b"never downloaded")
    main = tmp_path / "main"
    shutil.copytree(weights, main)
    (main / "model.safetensors").unlink()
    unknown = tmp_path / "unknown"
    shutil.copytree(weights, unknown)
    (unknown / "config.json").write_text('{"model_type": "unknown-family"}')
    revisions = {("org/unknown", "main"): (MAIN, unknown)}
    revisions |= {("org/bert", "main"): (MAIN, main), ("org/bert", "refs/pr/2"): (PULL_REQUEST, weights)}
    with serve(revisions) as (address, requests):
        point_at(address, tmp_path / "cache", monkeypatch)
        yield requests


def test_the_library_loads_a_revision(hub, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    chex.assert_trees_all_equal(load_encoder("org/bert@refs/pr/2")[1], load_encoder(GOLDEN / "bert")[1])
    assert load_preprocessing("org/bert@refs/pr/2", "text") == {"max_tokens": 12}
    folder = find_folder("org/bert@refs/pr/2")
    assert load_tokenizer(folder).get_vocab() == load_tokenizer(tmp_path / "repository").get_vocab()
    assert folder.name == PULL_REQUEST
    assert f"org/bert@refs/pr/2: from the Hugging Face hub at commit {PULL_REQUEST}" in caplog.text
    assert not [path for path in hub if "pytorch_model.bin" in path or "fp32" in path]
    assert not (folder / "golden.npz").exists()


def test_a_config_names_a_revision(hub, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = tiny_stage1()
    config.model.text.pretrained = "org/bert@refs/pr/2"
    config.model.text.config.update(dict.fromkeys(config.model.text.config))
    encoders = open_encoders(
        config.model,
        ("text",),
        workdir=tmp_path / "run",
        init_from="",
        image_size=0,
        devices=jax.devices(),
        transcripts=list,
    )
    chex.assert_trees_all_equal(encoders.params["text"]["encoder"], load_encoder(GOLDEN / "bert")[1])
    assert "text    encoder: pretrained org/bert@refs/pr/2" in caplog.text
    assert PULL_REQUEST in caplog.text


def test_a_downloaded_revision_needs_no_network(hub, monkeypatch):
    folder = find_folder("org/bert@refs/pr/2")
    requests = len(hub)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_folder("org/bert@refs/pr/2") == folder
    assert len(hub) == requests


@pytest.mark.parametrize("name", ["org/bert", "org/bert@main"])
def test_a_revision_without_safetensors_names_both_ways_to_get_them(name, hub):
    with pytest.raises(UserError, match=rf"{name}: no safetensors at commit {MAIN}.* \(org/bert@refs/pr/N\)") as error:
        load_encoder(name)
    assert "python -m data_prep.convert_weights FOLDER TARGET" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_of_an_unknown_family_only_the_config_is_downloaded_and_the_known_ones_are_listed(hub):
    with pytest.raises(
        UserError, match=r"config\.json: model_type = 'unknown-family' .*: bert, clip, .*, wav"
    ) as error:
        load_encoder("org/unknown")
    assert len(str(error.value).splitlines()) == 1
    downloaded = {path.rpartition("/")[2] for path in hub if "/resolve/" in path}
    assert downloaded == {"config.json"}


def test_an_unknown_revision_is_named(hub):
    with pytest.raises(UserError, match=r"org/bert@refs/pr/7: .*RevisionNotFoundError.* --revision refs/pr/7 "):
        load_encoder("org/bert@refs/pr/7")


@pytest.mark.parametrize("name", ["./vit", "../vit", "/vit", "~/vit", "a/b/c", "weights/vit", "./vit@main"])
def test_what_looks_like_a_path_is_never_looked_up_on_the_hub(name, hub, tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"{name}: no such folder"):
        find_folder(name)
    assert not hub


def test_a_home_folder_is_expanded(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "vit").mkdir()
    assert find_folder("~/vit") == tmp_path / "vit"
    assert not hub
