"""Exported models on the Hugging Face hub: safetensors, JSON and StableHLO; opening one runs no code of its own."""

import logging
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HFValidationError, HTTPError  # the second is that of its HTTP client

from emi_jax.encoders.folder import is_path
from emi_jax.errors import UserError
from emi_jax.runs.weights import FILE, is_exported

UPLOADED = ("README.md", "predict.py", "*.json", "*.safetensors", "*.jax_export", "encoders/**")
NEEDED = ("config.json", "dataset.json", "*.safetensors", "encoders/**")
"""The files that `Predictor.load` opens; others are not downloaded, above all no code."""

FAILURES = (OSError, HTTPError, HFValidationError)

log = logging.getLogger(__name__)


def push(folder: Path, repository: str) -> str:
    """Uploads an exported model as one commit; a new repository is private.

    Args:
        folder: of `export_model`.
        repository: its ID on the hub, `OWNER/NAME`. Who is logged in (`hf auth login`, or `HF_TOKEN`) must own it.

    Returns:
        `ID@COMMIT`, which `find_model` accepts.

    Raises:
        UserError: the hub cannot be reached, or refuses.
    """
    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=list(UPLOADED), commit_message="Upload the model"
        )
    except FAILURES as error:
        raise UserError(
            f"{folder} was written, but not uploaded to {repository} ({_reason(error)}). Log in with hf auth login, as "
            f"someone who may write there, and repeat the command; or upload it with: hf upload {repository} {folder}"
        ) from error
    return f"{repository}@{commit.oid}"


def find_model(name: str) -> Path:
    """The folder of an exported model or of a run: the given one, or the local copy of a repository on the hub.

    Args:
        name: a path, or `ID` or `ID@REVISION` on the hub; see `is_path`.

    Raises:
        UserError: there is no such folder, it cannot be downloaded, or it holds no exported model.
    """
    repository, _, revision = name.partition("@")
    if (path := Path(name).expanduser()).is_dir():
        return path
    if is_path(repository):
        raise UserError(f"--model={name}: no such folder")
    try:
        folder = Path(
            huggingface_hub.snapshot_download(repository, revision=revision or None, allow_patterns=list(NEEDED))
        )
    except FAILURES as error:
        raise UserError(
            f"--model={name}: no such folder, and not available from the Hugging Face hub ({_reason(error)}). Give a "
            "folder, or log in with hf auth login if the repository is private"
        ) from error
    if not is_exported(folder):
        raise UserError(f"--model={name}: holds no {FILE} at commit {folder.name}; expected a model that export pushed")
    log.info("%s: from the Hugging Face hub at commit %s", name, folder.name)
    return folder


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
