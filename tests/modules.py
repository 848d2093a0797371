"""Random parameters for Linen modules and their compiled runs, with as little compiling as can be."""

from typing import Any

import flax.linen as nn
import jax
import numpy as np

# `key(1)` of a generator that compiles fast; from its bits, so that importing this compiles nothing.
DROPOUT = {"dropout": jax.random.wrap_key_data(np.array([0, 1, 0, 1], np.uint32), impl="unsafe_rbg")}


def random_params(module: nn.Module, *arguments: Any, seed: int = 0) -> Any:
    """Parameters of the shapes that the module's `init` gives, none at its initial value."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(module.init, jax.random.key(0), *arguments)["params"]

    def draw(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        return (rng.normal(size=leaf.shape, scale=0.2) + (path[-1].key == "scale")).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def run(module: nn.Module, params: Any, *arguments: Any, **options: Any) -> Any:
    """The module's results as NumPy arrays; options are those of `apply`."""
    results = jax.jit(lambda p, a: module.apply({"params": p}, *a, **options))(params, arguments)
    return jax.tree.map(np.asarray, results)
