"""PyTorch's weights become safetensors without running anything in them."""

import ast
import json
import shutil
import sys
from pathlib import Path

import chex
import pytest
from safetensors import safe_open

from data_prep import convert_weights
from emi_jax.encoders.pretrained import load_encoder
from tests.golden.make import GOLDEN

torch = pytest.importorskip("torch")

BERT = GOLDEN / "bert"


def bert_tensors(dtype=torch.float32):
    with safe_open(BERT / "model.safetensors", "pt") as content:
        return {name: content.get_tensor(name).to(dtype) for name in content.keys()}  # noqa: SIM118


def write_source(folder, tensors, shards=1, **options):
    """A folder of BERT with PyTorch's weights."""
    folder.mkdir()
    shutil.copyfile(BERT / "config.json", folder / "config.json")
    (folder / "vocab.txt").write_text("[PAD]\n")
    (folder / "remote_code.py").write_text("raise SystemExit\n")
    if shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin", **options)
        return folder
    places = {}
    for index in range(shards):
        part = dict(list(tensors.items())[index::shards])
        name = f"pytorch_model-{index + 1:05d}-of-{shards:05d}.bin"
        torch.save(part, folder / name)
        places.update(dict.fromkeys(part, name))
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_converted_weights_load_as_the_same_encoder(shards, zipped, tmp_path, capsys):
    options = {} if shards > 1 else {"_use_new_zipfile_serialization": zipped}
    source = write_source(tmp_path / "source", bert_tensors(), shards, **options)
    assert convert_weights.main([str(source), str(tmp_path / "target")]) == 0
    assert f"{len(bert_tensors())} tensors" in capsys.readouterr().out
    chex.assert_trees_all_equal(load_encoder(tmp_path / "target")[1], load_encoder(BERT)[1])
    expected = {"config.json", "vocab.txt"}
    if shards == 1:
        expected |= {"model.safetensors"}
    else:
        expected |= {"model.safetensors.index.json", *(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3))}
    assert {path.name for path in (tmp_path / "target").iterdir()} == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_shared_and_strided_tensors_keep_their_names_values_and_half_precision(tmp_path):
    table = torch.arange(6, dtype=torch.float16).reshape(2, 3)
    tensors = {"embeddings": table, "decoder": table, "turned": table.T, "row": table[1], "ids": torch.arange(3)}
    tensors["brain"] = table.to(torch.bfloat16)
    convert_weights.convert(write_source(tmp_path / "source", tensors), tmp_path / "target")
    with safe_open(tmp_path / "target" / "model.safetensors", "pt") as content:
        assert set(content.keys()) == set(tensors)
        for name, tensor in tensors.items():
            assert content.get_tensor(name).dtype == tensor.dtype
            assert torch.equal(content.get_tensor(name), tensor)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_file_is_refused_and_not_run(tmp_path, capsys):
    witness = tmp_path / "executed"
    source = write_source(tmp_path / "source", bert_tensors() | {"trap": Malicious(witness)})
    assert convert_weights.main([str(source), str(tmp_path / "target")]) == 2
    message = capsys.readouterr().err
    assert "pytorch_model.bin: refused by torch.load(weights_only=True)" in message
    assert "weights_only=False" not in message
    assert len(message.splitlines()) == 1
    assert not witness.exists()
    assert not (tmp_path / "target").exists()


def test_a_failed_conversion_leaves_nothing(tmp_path):
    source = write_source(tmp_path / "source", bert_tensors(), shards=2)
    (source / "pytorch_model-00002-of-00002.bin").write_bytes(b"cut short")
    (tmp_path / "target.part").mkdir()
    (tmp_path / "target.part" / "left_over.json").write_text("{}")
    with pytest.raises(convert_weights.ConversionError, match=r"00002-of-00002\.bin: refused"):
        convert_weights.convert(source, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def _index(folder, content):
    (folder / "pytorch_model.bin").unlink()
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "no such folder; download it with: hf download ID"),
        (lambda folder: (folder / "pytorch_model.bin").unlink(), r"it holds no pytorch_model\.bin"),
        (lambda folder: (folder / "pytorch_model.bin").rename(folder / "model.safetensors"), "safetensors already"),
        (lambda folder: (folder.parent / "target").mkdir(), "target: exists already"),
        (lambda folder: torch.save({"state": bert_tensors()}, folder / "pytorch_model.bin"), "'state' is a dict"),
        (lambda folder: torch.save([1], folder / "pytorch_model.bin"), "holds a list"),
        (lambda folder: _index(folder, {"weight_map": {"a": "../b.bin"}}), r"names '\.\./b\.bin'"),
        (lambda folder: _index(folder, {"weight_map": {"a": "b.bin"}}), r"b\.bin: no such file"),
        (lambda folder: _index(folder, []), "lists no shards"),
    ],
)
def test_what_cannot_be_converted_is_one_line(change, message, tmp_path):
    source = write_source(tmp_path / "source", {"a": torch.zeros(2)})
    change(source)
    with pytest.raises(convert_weights.ConversionError, match=message) as error:
        convert_weights.convert(source, tmp_path / "target")
    assert len(str(error.value).splitlines()) == 1


def test_a_torch_whose_safe_loading_is_not_safe_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    source = write_source(tmp_path / "source", {"a": torch.zeros(2)})
    with pytest.raises(convert_weights.ConversionError, match=r"2\.5\.1\+cpu.*install 2\.6"):
        convert_weights.convert(source, tmp_path / "target")


def test_the_command_needs_torch_and_safetensors_alone():
    used = set()
    for node in ast.walk(ast.parse(Path(convert_weights.__file__).read_text())):
        if isinstance(node, ast.Import):
            used |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            used.add(str(node.module).split(".")[0])
    assert used - set(sys.stdlib_module_names) == {"torch", "safetensors"}
