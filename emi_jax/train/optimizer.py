"""AdamW with warm-up and cosine decay; learning rate and weight decay by parameter path."""

from collections.abc import Sequence
from typing import Any

import jax
import optax

from emi_jax.errors import UserError
from emi_jax.train.parameters import first_match

NOT_DECAYED = (
    r"(bias|scale|magnitude|embedding|positions|types|token|registers|probe|query|queries|layer_logits|"
    r"masked_spec_embed|missing)$"
)
"""Biases, norms, temperatures and learned tables are not weight-decayed."""


def schedule(learning_rate: float, final_learning_rate: float, warmup_steps: int, steps: int) -> optax.Schedule:
    """Linear warm-up from 0 to `learning_rate`, then a cosine down to `final_learning_rate` at the last step."""
    if warmup_steps >= steps:
        raise UserError(
            f"config.train: {warmup_steps} warm-up steps leave none of the run's {steps} steps: lower warmup_epochs"
        )
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, warmup_steps, steps, final_learning_rate)


def adamw(
    params: Any,
    learning_rate: optax.Schedule,
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
        learning_rate: schedule, by step.
        weight_decay: the decay factor; parameters whose path matches `NOT_DECAYED` are not decayed.
        clip_norm: largest global norm of the gradients (Pascanu et al. 2013, Alg. 1); 0 = no clipping.
        rate_factors: (pattern, factor of the learning rate); the first match applies.
        b1: decay of the first moment.
        b2: decay of the second moment.
    """
    decays = first_match(params, [(NOT_DECAYED, False), ("", True)], "NOT_DECAYED")
    factors = first_match(params, list(rate_factors), "config.train.rate_factors")
    chain = [
        optax.clip_by_global_norm(clip_norm) if clip_norm else optax.identity(),
        optax.scale_by_adam(b1, b2),
        optax.add_decayed_weights(weight_decay, decays),
        optax.scale_by_learning_rate(learning_rate),
    ]
    if set(jax.tree.leaves(factors)) != {1.0}:
        scale = optax.stateless(lambda updates, _: jax.tree.map(lambda update, f: update * f, updates, factors))
        chain.append(scale)
    return optax.chain(*chain)
