"""LoRA (Hu et al. 2022): linear layers with a trained update of low rank, W + alpha / rank * A B.

The update is added around `Dense` as the towers run, so that no encoder knows of it. Its factors lie next to the
kernel, as `lora_a` and `lora_b`.
"""

import contextlib
import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from emi_jax.kernels.product import product
from emi_jax.models.dense import Dense

FACTORS = LORA_A, LORA_B = "lora_a", "lora_b"


@dataclasses.dataclass(frozen=True)
class Lora:
    """Which linear layers of the towers have an update, and its hyperparameters.

    Attributes:
        targets: regular expressions of the paths of kernels, `towers/text/encoder/.../query/kernel`.
        rank: r, of the factors A [in, r] and B [r, out].
        alpha: the update is scaled by alpha / r.
        dropout: dropout rate of the input of the update.
    """

    targets: tuple[str, ...]
    rank: int
    alpha: float
    dropout: float = 0.0

    def around(self, root: nn.Module, deterministic: bool) -> contextlib.AbstractContextManager:
        """A context in which the targets among the layers of a bound `Towers` add their updates.

        Args:
            root: the towers, the root of the paths.
            deterministic: False needs the rng stream "dropout".
        """
        depth = len(root.path)

        def intercept(layer: Any, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
            y = layer(*args, **kwargs)
            module = context.module
            if not isinstance(module, Dense) or context.method_name != "__call__":
                return y
            if not self.adapts("/".join(("towers", *module.path[depth:], "kernel"))):
                return y
            return y + self._update(module, args[0], deterministic)

        return nn.intercept_methods(intercept)

    def adapts(self, path: str) -> bool:
        """Whether the kernel at a path has an update."""
        return any(re.search(target, path) for target in self.targets)

    def merged(self, towers: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of towers on the host, without factors, their updates added to the kernels."""
        flat = traverse_util.flatten_dict(towers)
        plain = {path: leaf for path, leaf in flat.items() if path[-1] not in FACTORS}
        for path in flat:
            if path[-1] == LORA_A:
                a, b = (np.asarray(flat[(*path[:-1], factor)], np.float32) for factor in FACTORS)
                kernel = (*path[:-1], "kernel")
                plain[kernel] = np.asarray(plain[kernel]) + np.float32(self.alpha / self.rank) * (a @ b)
        return traverse_util.unflatten_dict(plain)

    def _update(self, module: Dense, x: jax.Array, deterministic: bool) -> jax.Array:
        init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # uniform over 1 / sqrt(in), as theirs
        a = module.param(LORA_A, init, (x.shape[-1], self.rank))
        b = module.param(LORA_B, nn.initializers.zeros_init(), (self.rank, module.features))
        if self.dropout > 0 and not deterministic:
            keep = jax.random.bernoulli(module.make_rng("dropout"), 1 - self.dropout, x.shape)
            x = jnp.where(keep, x / (1 - self.dropout), 0.0)
        return self.alpha / self.rank * product(product(x, a, module.dtype), b, module.dtype)


def factors_of(tower: Mapping[str, Any]) -> dict[str, Any]:
    """The factors alone among the parameters of a tower."""
    flat = traverse_util.flatten_dict(tower)
    return traverse_util.unflatten_dict({path: leaf for path, leaf in flat.items() if path[-1] in FACTORS})
