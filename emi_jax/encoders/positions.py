"""Fits the position embeddings of an image encoder to another size of images."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from emi_jax.errors import UserError
from emi_jax.models.vision.patches import height_width

CHANNELS = 512
"""The most that OpenCV resizes at once."""

log = logging.getLogger(__name__)


def fit_positions(root: Path, encoder: Any, params: Mapping[str, Any], image_size: int) -> tuple[Any, dict[str, Any]]:
    """Interpolates the position embeddings of the patches, where the encoder has a table of them.

    Args:
        root: the encoder's folder, for messages.
        encoder: an image encoder.
        params: its parameters.
        image_size: new side of the images.

    Returns:
        The encoder for images of that size, and its parameters.

    Raises:
        UserError: the encoder is for something else than images, or a patch is larger than the image.
    """
    config = encoder.config
    if not hasattr(config, "image_size"):
        raise UserError(f"{root}: image_size={image_size} does nothing, since {config.model_type} encodes no images")
    h, w = height_width(config.patch_size)
    old, (H, W) = height_width(config.image_size), height_width(image_size)
    if old == (H, W):
        return encoder, dict(params)
    if H // h == 0 or W // w == 0:
        raise UserError(f"{root}: image_size={image_size} is smaller than a patch of {h} x {w} pixels")
    resized = encoder.clone(config=dataclasses.replace(config, image_size=image_size))
    if "positions" not in params["embedding"]:
        return resized, dict(params)
    rows, columns = old[0] // h, old[1] // w
    (positions,) = params["embedding"]["positions"]
    class_token, patches = np.split(positions, [len(positions) - rows * columns])
    grid = _bicubic(patches.reshape(rows, columns, -1), (H // h, W // w), config.antialias)
    log.info("%s: position embeddings interpolated from images of %s to %s", root, old, (H, W))
    positions = np.concatenate([class_token, grid.reshape(-1, grid.shape[-1])])[None]
    return resized, {**params, "embedding": {**params["embedding"], "positions": positions}}


def _bicubic(grid: np.ndarray, size: tuple[int, int], antialias: bool) -> np.ndarray:
    """Bicubic interpolation of [H, W, D] to `size`, as `torch.nn.functional.interpolate` does it.

    Its kernel has a = -0.75 (as OpenCV's), or with antialiasing a = -0.5 and the width of an output pixel (as JAX's).
    """
    if antialias:
        return np.asarray(jax.image.resize(grid, (*size, grid.shape[-1]), "bicubic", antialias=True))
    chunks = np.array_split(grid, range(CHANNELS, grid.shape[-1], CHANNELS), axis=-1)
    resized = [
        cv2.resize(np.ascontiguousarray(chunk), size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, -1)
        for chunk in chunks
    ]
    return np.concatenate(resized, axis=-1)


def for_square_images(encoder: Any, source: str) -> Any:
    """A vision encoder whose image size is one number, as clips' frames are square."""
    height, width = height_width(encoder.config.image_size)
    if height != width:
        raise UserError(
            f"{source or 'config.model.vision.config'}: image_size is {height} x {width}, but frames are square; "
            "use an encoder of square images, or interpolate its positions with --config.data.image_size=SIDE"
        )
    return encoder.clone(config=dataclasses.replace(encoder.config, image_size=height))
