"""Copies of the golden folders."""

import json

import pytest
from safetensors.numpy import load_file, save_file

from tests.golden.make import GOLDEN


@pytest.fixture
def folder(tmp_path):
    """A function that copies a golden folder, changing its tensors or its config on the way."""

    def copy(name, change=lambda tensors: tensors, **fields):
        tensors = load_file(GOLDEN / name / "model.safetensors")
        save_file(change(tensors) or tensors, tmp_path / "model.safetensors")
        config = json.loads((GOLDEN / name / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, **fields}))
        return tmp_path

    return copy
