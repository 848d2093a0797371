"""Reads a Hugging Face folder: where it is, its JSON files and its tensors."""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
from huggingface_hub.errors import HFValidationError
from safetensors import safe_open

from emi_jax.encoders.registry import check_family
from emi_jax.errors import UserError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
NEEDED = ("*.json", "model.safetensors", "model-*.safetensors", "vocab.txt", "merges.txt")
CONVERT = "python -m data_prep.convert_weights"

log = logging.getLogger(__name__)


def find_folder(name: str | Path) -> Path:
    """Returns a local folder: the given path, or the local copy of a hub repository, downloaded if it is missing.

    Args:
        name: a path, or `ID` or `ID@REVISION` on the Hugging Face hub. A name that starts with `/`, `./`, `../` or `~`,
            has more than one slash, or lies in an existing folder is a path and is never looked up on the hub.

    Raises:
        UserError: there is no such folder, no such repository can be downloaded, its encoder is of an unknown family
            (of such a repository only config.json is downloaded), or it has no safetensors.
    """
    path, repository = Path(name).expanduser(), str(name)
    if path.is_dir():
        return path
    repository, _, revision = repository.partition("@")
    if isinstance(name, Path) or is_path(repository):
        raise UserError(f"{name}: no such folder; expected one with config.json and model.safetensors")
    at = f" --revision {revision}" if revision else ""
    try:
        for files in ([CONFIG], list(NEEDED)):
            folder = Path(
                huggingface_hub.snapshot_download(repository, revision=revision or None, allow_patterns=files)
            )
            read_family_config(folder)
    except (OSError, HFValidationError) as error:
        raise UserError(
            f"{name}: no such folder, and not available from the Hugging Face hub ({type(error).__name__}). "
            "Give a folder with config.json and model.safetensors, made where the hub can be reached with: "
            f"hf download {repository}{at} --local-dir FOLDER"
        ) from error
    if not list(folder.glob("*.safetensors")):
        raise UserError(
            f"{name}: no safetensors at commit {folder.name} of the Hugging Face hub. Name a revision that has them, "
            f"often a pull request of the hub's converter ({repository}@refs/pr/N), or convert pytorch_model.bin: hf "
            f"download {repository}{at} --local-dir FOLDER, then {CONVERT} FOLDER TARGET where torch is installed"
        )
    log.info("%s: from the Hugging Face hub at commit %s", name, folder.name)
    return folder


def read_family_config(folder: Path) -> dict[str, Any]:
    """The config.json of a folder; UserError if it is missing, malformed or of an unknown family of encoders."""
    config = read_json(folder / CONFIG)
    try:
        check_family(config)
    except ValueError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error
    return config


def is_path(name: str) -> bool:
    """Whether a name is a path rather than the ID of a hub repository, as `find_folder` says."""
    parent = name.rpartition("/")[0]
    return name.startswith(("/", "./", "../", "~")) or name.count("/") > 1 or bool(parent and Path(parent).is_dir())


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; UserError if the file is missing or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; a Hugging Face folder has one") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a JSON file ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: holds a {type(content).__name__}, expected an object")
    return content


def tensor_files(folder: Path) -> dict[str, Path]:
    """The name of every tensor of a folder's safetensors and the file that holds it.

    Raises:
        UserError: no safetensors, a shard is missing, or a file is cut short.
    """
    if (folder / WEIGHTS).is_file():
        files = [folder / WEIGHTS]
    elif (folder / INDEX).is_file():
        files = [folder / name for name in _shards(folder / INDEX)]
        if missing := [file.name for file in files if not file.is_file()]:
            raise UserError(f"{folder}: {INDEX} names files that are not there: {', '.join(missing)}; copy them too")
    else:
        found = ", ".join(sorted(path.name for path in folder.glob("*.bin"))) or "no weights"
        raise UserError(
            f"{folder}: found {found}, expected {WEIGHTS}; weights are read from safetensors only, since other files "
            "can run code when opened. Convert pytorch_model.bin in an environment with torch: "
            f"{CONVERT} {folder} TARGET"
        )
    tensors = {}
    for file in files:
        with _open(file) as content:
            tensors.update(dict.fromkeys(content.keys(), file))
    return tensors


def _shards(index: Path) -> list[str]:
    """The names of the files that an index lists, all of them in its own folder."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise UserError(f"{index}: expected weight_map to map each tensor to the name of a file; copy it again")
    for name in names.values():
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise UserError(f"{index}: names {name!r}, expected a safetensors file in the same folder")
    return sorted(set(names.values()))


def tensor_shapes(tensors: Mapping[str, Path]) -> dict[str, tuple[int, ...]]:
    """The shape of each of those tensors, from the files' headers."""
    return {name: tuple(content.get_slice(name).get_shape()) for name, content in _each(tensors)}


def read_tensors(tensors: Mapping[str, Path]) -> dict[str, np.ndarray]:
    """Those tensors, as float32."""
    return {name: content.get_tensor(name).astype(np.float32) for name, content in _each(tensors)}


def _each(tensors: Mapping[str, Path]) -> Iterator[tuple[str, Any]]:
    for file in sorted(set(tensors.values())):
        with _open(file) as content:
            for name in sorted(name for name, place in tensors.items() if place == file):
                yield name, content


def _open(file: Path) -> Any:
    try:
        return safe_open(file, "np")
    except Exception as error:  # safetensors' own error type lives in a compiled module and has no stable home
        raise UserError(f"{file}: incomplete or damaged safetensors file ({error}); copy it again") from error
