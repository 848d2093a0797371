"""The JAX side: the stages of `emi_jax` at the sizes of the comparison."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax.typing import DTypeLike

from benchmarks.comparison.shapes import NUM_LABELS, Sizes
from emi_jax.encoders.attention_choice import choose_attention, head_width
from emi_jax.encoders.registry import BIASED_ATTENTION, build_encoder
from emi_jax.models.contrastive import ContrastiveModel
from emi_jax.models.fusion import Fusion
from emi_jax.models.towers import AudioTower, TextTower, Towers, VisionTower
from emi_jax.stages.alignment import Alignment
from emi_jax.stages.intensity import Intensity

HALF = (0.5, 0.5, 0.5)
LABELS = tuple(f"label_{index}" for index in range(NUM_LABELS))

Encoders = Mapping[str, Mapping[str, Any]]


def towers(encoders: Encoders, dtype: DTypeLike = jnp.float32, remat: bool = False) -> Towers:
    """The towers for encoder configs by modality, with the attention that `run.py` chooses by default."""

    def build(name: str, config: Mapping[str, Any]) -> Any:
        encoder: Any = build_encoder(config, name, dtype=dtype, remat=remat)
        biased = config["model_type"] in BIASED_ATTENTION
        attention = choose_attention("auto", jnp.dtype(dtype), jax.devices()[:1], head_width(encoder.config), biased)
        return encoder.clone(attention_implementation=attention)

    built = {name: build(name, config) for name, config in encoders.items()}
    return Towers(
        VisionTower(built["vision"], HALF, HALF), AudioTower(built["audio"], normalize=True), TextTower(built["text"])
    )


def alignment(
    encoders: Encoders,
    sizes: Sizes,
    weights: Mapping[str, float],
    example: Mapping[str, Any],
    dtype: DTypeLike = jnp.float32,
    remat: bool = False,
) -> Alignment:
    """Stage 1; `example` is a batch of any size."""
    model = ContrastiveModel(towers(encoders, dtype, remat), tuple(weights), sizes.width, dtype)
    return Alignment(model, dict(example), weights)


def intensity(
    encoders: Encoders,
    sizes: Sizes,
    example: Mapping[str, Any],
    dtype: DTypeLike = jnp.float32,
    *,
    modality_dropout: float = 0.1,
    **fields: Any,
) -> Intensity:
    """Stage 2 on frozen towers or cached features; `fields` are the fusion's. The twin numbers the steps."""
    head = Fusion(NUM_LABELS, sizes.width, num_heads=sizes.num_heads, positions="steps", dtype=dtype, **fields)
    return Intensity(towers(encoders, dtype), head, dict(example), LABELS, modality_dropout=modality_dropout)


def draw(stage: Alignment | Intensity, seed: int = 0, std: float = 0.02) -> dict[str, np.ndarray]:
    """Random parameters for a stage by path: norms around one, magnitudes as their directions, the rest normal."""
    shapes = jax.eval_shape(lambda: stage.init(jax.random.key(0), {}))
    return draw_like(shapes, seed, std)


def draw_like(shapes: Any, seed: int = 0, std: float = 0.02) -> dict[str, np.ndarray]:
    """As `draw`, for a tree of shapes."""
    rng = np.random.default_rng(seed)
    flat = {}
    for path, leaf in traverse_util.flatten_dict(shapes, sep="/").items():
        values = std * rng.standard_normal(leaf.shape, np.float32)
        values += 1 if path.endswith(("/scale", "magnitude", "logit_scale")) or path == "scale" else 0
        flat[path] = np.asarray(values, np.float32).astype(leaf.dtype)
    return flat


def tree(flat: Mapping[str, Any]) -> dict:
    """Converts parameters by path to the tree that the models expect."""
    return traverse_util.unflatten_dict(flat, sep="/")


@contextlib.contextmanager
def float64() -> Iterator[None]:
    """Runs emi_jax, whose modules name float32, in double precision."""
    with jax.enable_x64(True), mock.patch.object(jnp, "float32", jnp.float64):
        yield
