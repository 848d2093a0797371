"""AdamW or Muon, with warm-up and cosine decay; learning rate and weight decay by parameter path."""

import collections
import functools
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import optax
import optax.contrib
from flax import traverse_util

from emi_jax.errors import UserError
from emi_jax.train.parameters import first_match

NOT_DECAYED = (
    r"(bias|scale|magnitude|embedding|positions|types|token|registers|probe|query|queries|layer_logits|"
    r"masked_spec_embed|missing)$"
)
"""Biases, norms, temperatures and learned tables are not weight-decayed."""


OPTIMIZERS = ADAMW, MUON = "adamw", "muon"
NEWTON_SCHULZ_STEPS = 4
"""Of Muon. Five are usual without Schatten preconditioning, which saves about one."""
MUON_RMS = 0.2
"""Root mean square of Muon's updates at a learning rate of 1, that of AdamW's (Liu et al. 2025, section 2.2)."""

LAYER = re.compile(r"^towers/(\w+)/.*/transformer/layers_(\d+)/")
"""The path of a parameter in a transformer layer: the modality of its tower and its number."""
AFTER_LAYERS = "final_norm|pooler|pooling|head|emotion"
"""Names of an encoder's parts that follow its transformer layers."""


def schedule(learning_rate: float, final_learning_rate: float, warmup_steps: int, steps: int) -> optax.Schedule:
    """Linear warm-up from 0 to `learning_rate`, then a cosine down to `final_learning_rate` at the last step."""
    if warmup_steps >= steps:
        raise UserError(
            f"config.train: {warmup_steps} warm-up steps leave none of the run's {steps} steps: lower warmup_epochs"
        )
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup_steps, steps, final_learning_rate)


def make_optimizer(
    params: Any,
    learning_rate: optax.Schedule,
    *,
    kind: str = ADAMW,
    weight_decay: float,
    clip_norm: float,
    rate_factors: Sequence[tuple[str, float]],
    layer_decay: float = 1.0,
    b1: float = 0.9,
    b2: float = 0.999,
) -> optax.GradientTransformation:
    """Clipping by the global norm, then AdamW, or Muon for weight matrices, with decoupled weight decay.

    Muon (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982, Alg. 1) replaces the momentum of a matrix by about the
    nearest semi-orthogonal matrix, found by Newton-Schulz iterations. Its scale is that of AdamW's updates, so that
    both take the same learning rates. What is no weight matrix is left to Adam.

    Args:
        params: the trained parameters; patterns are checked against their paths.
        learning_rate: schedule, by step.
        kind: `ADAMW` or `MUON`.
        weight_decay: the decay factor; parameters whose path matches `NOT_DECAYED` are not decayed.
        clip_norm: largest global norm of the gradients (Pascanu et al. 2013, Alg. 1); 0 = no clipping.
        rate_factors: (pattern, factor of the learning rate); the first match applies.
        layer_decay: a further factor of each layer of a tower, see `layer_factors`.
        b1: decay of Adam's first moment.
        b2: decay of its second moment.
    """
    decays = first_match(params, [(NOT_DECAYED, False), ("", True)], "NOT_DECAYED")
    factors = first_match(params, list(rate_factors), "config.train.rate_factors")
    factors = jax.tree.map(lambda one, other: one * other, factors, layer_factors(params, layer_decay))
    adam = optax.scale_by_adam(b1, b2)
    chain = [
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        optax.partition({MUON: muon(), ADAMW: adam}, weight_matrices(params)) if kind == MUON else adam,
        optax.add_decayed_weights(weight_decay, decays),
        optax.scale_by_learning_rate(learning_rate),
    ]
    if set(jax.tree.leaves(factors)) != {1.0}:
        scale = optax.stateless(lambda updates, _: jax.tree.map(lambda update, f: update * f, updates, factors))
        chain.append(scale)
    return optax.chain(*chain)


def muon() -> optax.GradientTransformation:
    """The direction of Muon's updates, for a tree of matrices [in, out]."""

    def scaled(updates: Any, _: Any) -> Any:
        return jax.tree.map(lambda update: MUON_RMS * math.sqrt(max(update.shape)) * update, updates)

    matrices = functools.partial(jax.tree.map, lambda _: optax.contrib.MuonDimensionNumbers())
    orthogonal = optax.contrib.scale_by_muon(
        ns_steps=NEWTON_SCHULZ_STEPS, preconditioning="schatten", weight_dimension_numbers=matrices
    )
    return optax.chain(orthogonal, optax.stateless(scaled))


def weight_matrices(params: Any) -> Any:
    """`MUON` for each parameter that is a weight matrix, so for no embedding or norm, and `ADAMW` for the others."""
    paths = traverse_util.flatten_dict(params)
    kinds = {path: MUON if path[-1] == "kernel" and array.ndim == 2 else ADAMW for path, array in paths.items()}
    return traverse_util.unflatten_dict(kinds)


def layer_factors(params: Any, decay: float) -> Any:
    """The factor of each parameter's learning rate under layer-wise decay (Clark et al. 2020; Bao et al. 2022).

    In a tower whose last trained layer is number L - 1, layer i has decay ** (L - i), and what precedes the layers
    decay ** (L + 1). What follows them, and everything outside of the towers, has 1.
    """
    paths = traverse_util.flatten_dict(params, sep="/")
    depths: dict[str, int] = collections.defaultdict(int)
    for path in paths:
        if match := LAYER.search(path):
            depths[match[1]] = max(depths[match[1]], int(match[2]) + 1)

    def exponent(path: str) -> int:
        if match := LAYER.search(path):
            return depths[match[1]] - int(match[2])
        root, modality, *_ = f"{path}//".split("/")
        follows = re.search(f"/({AFTER_LAYERS})/", path)
        return 0 if root != "towers" or follows else depths[modality] + 1

    return traverse_util.unflatten_dict({path: decay ** exponent(path) for path in paths}, sep="/")
