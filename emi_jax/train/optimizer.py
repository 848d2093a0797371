"""AdamW with warm-up and cosine decay; learning rates and weight decay by parameter path."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from emi_jax.errors import UserError
from emi_jax.train.parameters import first_match

NOT_DECAYED = r"(bias|scale|magnitude|embedding|positions|types|token|queries|hidden_step|missing)$"
"""Biases, norms, temperatures and learned tables keep their size."""


def schedule(learning_rate: float, final_rate: float, warmup_steps: int, steps: int) -> optax.Schedule:
    """Linear warm-up from 0 to `learning_rate`, then a cosine down to `final_rate` at the last step."""
    if warmup_steps >= steps:
        raise UserError(f"config.train: {warmup_steps} warm-up steps leave nothing of the {steps} steps of the run")
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup_steps, steps, final_rate)


def adamw(
    params: Any,
    rate: optax.Schedule,
    *,
    weight_decay: float,
    clip_norm: float,
    rate_factors: Sequence[tuple[str, float]],
    b1: float = 0.9,
    b2: float = 0.999,
) -> optax.GradientTransformation:
    """Clipping by the global norm, then AdamW with decoupled weight decay.

    Args:
        params: the trained parameters; patterns are checked against their paths.
        rate: learning rate by step.
        weight_decay: factor of the decay; parameters whose path matches `NOT_DECAYED` have none.
        clip_norm: largest global norm of the gradients.
        rate_factors: (pattern, factor of the learning rate), the first match counts.
        b1: decay of the first moment.
        b2: decay of the second moment.
    """
    decays = first_match(params, [(NOT_DECAYED, False), ("", True)], "NOT_DECAYED")
    factors = first_match(params, list(rate_factors), "config.train.rate_factors")
    chain = [
        optax.stateless(lambda gradients, _: clip(gradients, clip_norm)),
        optax.scale_by_adam(b1, b2),
        optax.add_decayed_weights(weight_decay, decays),
        optax.scale_by_learning_rate(rate),
    ]
    if set(jax.tree.leaves(factors)) != {1.0}:
        scale = optax.stateless(lambda updates, _: jax.tree.map(lambda update, f: update * f, updates, factors))
        chain.append(scale)
    return optax.chain(*chain)


def clip(gradients: Any, largest: float) -> Any:
    """The gradients, scaled down to a global norm of `largest` where theirs is larger (Pascanu et al. 2013, Alg. 1).

    By one factor for all: `optax.clip_by_global_norm` divides each of them, which XLA does in a pass of its own over
    memory (docs/performance.md).
    """
    factor = jnp.minimum(1.0, largest / optax.tree.norm(gradients))
    return jax.tree.map(lambda gradient: gradient * factor, gradients)
