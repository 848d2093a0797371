"""Loads encoders from Hugging Face folders and saves them as such. Every tensor must be accounted for."""

import dataclasses
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from emi_jax.encoders.folder import (
    CONFIG,
    WEIGHTS,
    find_folder,
    read_family_config,
    read_tensors,
    tensor_files,
    tensor_shapes,
)
from emi_jax.encoders.names import OPTIONAL, family_of
from emi_jax.encoders.overrides import override
from emi_jax.encoders.positions import fit_positions
from emi_jax.encoders.preprocessing import load_preprocessing
from emi_jax.encoders.registry import build_encoder
from emi_jax.encoders.tensors import describe, match, read, write
from emi_jax.errors import UserError
from emi_jax.files import write_tensors
from emi_jax.kernels.attention import Implementation

__all__ = ["build_saved", "find_folder", "load_encoder", "load_preprocessing", "save_config", "save_encoder"]

HEAD = "classifier."
POOLER = "add_pooling_layer"
"""A field of ours: Hugging Face has a class for each value."""

logger = logging.getLogger(__name__)


def load_encoder(
    folder: str | Path,
    role: str | None = None,
    *,
    image_size: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    dtype: DTypeLike = jnp.float32,
    remat: bool = False,
    attention_implementation: Implementation | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """Loads an encoder from config.json and safetensors; nothing else in the folder is opened.

    Args:
        folder: a Hugging Face folder, or ID[@REVISION] of the hub.
        role: the modality it is for; chooses the part of a checkpoint of several encoders (CLIP, SigLIP) and is checked
            with any other.
        image_size: side of the input images if it is not the checkpoint's; position embeddings are interpolated.
        overrides: fields of the config to replace: dropout, masking and what is read out, see `overrides.override`.
        dtype: as in `build_encoder`.
        remat: as in `build_encoder`.
        attention_implementation: as in `build_encoder`.

    Returns:
        The encoder and its parameters, float32 NumPy arrays.

    Raises:
        UserError: no such folder, an unsupported config, an override that does not fit, no safetensors, or tensors that
            are missing, unexpected or misshapen, all of them named.
    """
    root = find_folder(folder)
    config = read_family_config(root)
    files = tensor_files(root)
    config |= _heads(root, config, files)
    try:
        encoder: Any = build_encoder(
            config, role, dtype=dtype, remat=remat, attention_implementation=attention_implementation
        )
    except ValueError as error:
        raise UserError(f"{root / CONFIG}: {error}") from error
    encoder = override(encoder, overrides or {}, root)
    family = family_of(encoder.config, files)
    expected = describe(encoder, family)
    places = match(root, family, expected, files)
    loaded = read_tensors({place: files[place] for place in places.values()})
    flat = read(expected, {name: loaded[place] for name, place in places.items()})
    if OPTIONAL in expected and OPTIONAL not in flat:
        flat[OPTIONAL] = np.asarray(jax.random.uniform(jax.random.key(0), expected[OPTIONAL].ours))
        logger.info("%s: has no %s, which is initialised at random", root, expected[OPTIONAL].name)
    params = flax.traverse_util.unflatten_dict(flat, sep="/")
    return (encoder, params) if image_size is None else fit_positions(root, encoder, params, image_size)


def save_encoder(folder: str | Path, encoder: Any, params: Mapping[str, Any]) -> None:
    """Writes config.json and model.safetensors as `transformers.AutoModel` opens them.

    Args:
        folder: created if missing; files of these names are overwritten.
        encoder: one of `build_encoder`'s.
        params: its parameters, as `load_encoder` or `encoder.init` gives them.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    config = encoder.config
    flat = flax.traverse_util.flatten_dict(params, sep="/")
    family = family_of(config)
    tensors = write(describe(encoder), flat)
    if any(name.startswith(HEAD) for name in tensors):  # the layout of a class with a head
        tensors = {name if name.startswith(HEAD) else family.prefix + name: array for name, array in tensors.items()}
    write_tensors(root / WEIGHTS, tensors, {"format": "pt"})
    content = {name: value for name, value in _content(encoder).items() if name != POOLER}
    (root / CONFIG).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def save_config(folder: Path, encoder: Any) -> None:
    """Writes the config.json of an encoder whose weights are kept elsewhere, for `build_saved`.

    Args:
        folder: exists.
        encoder: one of `build_encoder`'s.
    """
    (folder / CONFIG).write_text(json.dumps(_content(encoder), indent=2) + "\n", encoding="utf-8")


def build_saved(folder: Path, role: str, *, overrides: Mapping[str, Any], **options: Any) -> Any:
    """Builds the encoder of a config.json that `save_config` wrote.

    Args:
        folder: that of the config.
        role: the modality it is for.
        overrides: as in `load_encoder`.
        options: `dtype` and `remat`, as in `build_encoder`.

    Raises:
        UserError: the config is missing or unsupported, or an override does not fit.
    """
    try:
        return override(build_encoder(read_family_config(folder), role, **options), overrides, folder)
    except ValueError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from error


def _content(encoder: Any) -> dict[str, Any]:
    """The content of an encoder's config.json, with the fields of ours."""
    config = encoder.config
    return {
        "model_type": config.model_type,
        "architectures": [family_of(config).architecture],
        "dtype": "float32",
        **dataclasses.asdict(config),
        **getattr(config, "for_transformers", {}),
    }


def _heads(root: Path, config: Mapping[str, Any], files: Mapping[str, Path]) -> dict[str, Any]:
    """The fields of ours that say which heads the checkpoint has."""
    found: dict[str, Any] = {POOLER: any(re.fullmatch(r"(\w+\.)?pooler\..*", name) for name in files)}
    outputs = {name: file for name, file in files.items() if name.startswith(f"{HEAD}out_proj.")}
    if config["model_type"] == "wav2vec2" and outputs:
        found["emotion_dimensions"] = next(iter(tensor_shapes(outputs).values()))[0]
        logger.info(
            "%s: has a regression head, whose %d outputs are appended to each step unless emotion_dimensions=0",
            root,
            found["emotion_dimensions"],
        )
    return found
