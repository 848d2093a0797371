"""The Quality-Aware Module: the weight of each modality (0 for an absent one) and the reliability of each step."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from emi_jax.kernels.gelu import gelu
from emi_jax.modalities import MODALITIES
from emi_jax.models.dense import Dense
from emi_jax.models.norm import LayerNorm
from emi_jax.models.pooling import masked_mean

_VARIANCE_EPSILON = 1e-6
# Stands for the logarithm of 0: its exp is 0, and unlike an infinity it has finite gradients.
_LOG_ZERO = -1e9


class Weighted(NamedTuple):
    """Weighted features, and the weights that are shown in reports.

    Attributes:
        features: {m: float32 [B, t_m, d]}, the weighted features, 0 on masked steps.
        log_weights: {m: float32 [B, t_m]}, log of the factor that weights each step; 0 where no factor applies.
        weights: {m: w, float32 [B]}, 0 for an absent modality; their sum is 1, or 0 when nothing is present.
        reliability: {m: r, float32 [B, t_m]} in [0, 1], 0 on masked steps.
        reliability_logits: {m: float32 [B, t_m]}, r = sigmoid(logits); empty without the QAM.
        share: {m: float32 [B]}, the effective share w_m * mean r_m, normalised as w is.
    """

    features: dict[str, Array]
    log_weights: dict[str, Array]
    weights: dict[str, Array]
    reliability: dict[str, Array]
    reliability_logits: dict[str, Array]
    share: dict[str, Array]


class QualityAware(nn.Module):
    """Weights the modalities of a clip and the steps of each (the paper names the module; the formulas are ours).

    r_{m,t} = sigmoid(MLP(y_{m,t})); q_m = MLP([mean y, standard deviation of y, mean r]) over valid steps; w = softmax
    of q_m + log(mean r) over the modalities present: a modality loses weight as its steps become unreliable, and q
    corrects that. The result is M w_m r_{m,t} LayerNorm(y_{m,t}), M the number present. The quality MLP starts at
    q = 0.

    Attributes:
        width: hidden width of the MLPs.
        dtype: dtype of the operands of matrix products.
    """

    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, features: dict[str, Array], masks: dict[str, Array], present: dict[str, Array]) -> Weighted:
        """Weights the features.

        Args:
            features: {m: y [B, t_m, d]}.
            masks: {m: bool [B, t_m]}; all False where the modality is absent.
            present: {m: bool [B]}.
        """
        logits, reliability, log_trust, quality = {}, {}, [], []
        for name, y in features.items():
            mask = masks[name]
            y = jnp.where(mask[..., None], y, 0)
            logits[name] = self._mlp(f"{name}_reliability", y)
            reliability[name] = jnp.where(mask, jax.nn.sigmoid(logits[name]), 0)
            mean = masked_mean(y, mask)
            deviation = y - mean[:, None, :]
            spread = jnp.sqrt(masked_mean(jnp.square(deviation), mask) + _VARIANCE_EPSILON)
            log_trust.append(_log_mean(jax.nn.log_sigmoid(logits[name]), mask))
            summary = jnp.concatenate([mean, spread, masked_mean(reliability[name][..., None], mask)], axis=-1)
            quality.append(self._mlp(f"{name}_quality", summary, nn.initializers.zeros_init()))

        is_present = jnp.stack([present[name] for name in features], axis=-1)
        trust = jnp.stack(log_trust, axis=-1)
        log_weights = _log_softmax(jnp.stack(quality, axis=-1) + trust, is_present)
        log_shares = _log_softmax(log_weights + trust, is_present)
        # An absent modality has weight 0.
        weights, share = (
            dict(zip(features, jnp.where(is_present, jnp.exp(x), 0).T, strict=True)) for x in (log_weights, log_shares)
        )
        log_factors = log_weights + jnp.log(_count(is_present))

        passed, log_steps = {}, {}
        for m, (name, y) in enumerate(features.items()):
            mask = masks[name]
            log_steps[name] = jnp.where(mask, log_factors[:, m, None] + jax.nn.log_sigmoid(logits[name]), 0)
            normal = LayerNorm(name=f"{name}_norm")(jnp.where(mask[..., None], y, 0))
            passed[name] = jnp.where(mask[..., None], jnp.exp(log_steps[name])[..., None] * normal, 0)
        return Weighted(passed, log_steps, weights, reliability, logits, share)

    def _mlp(self, name: str, x: Array, last: nn.initializers.Initializer | None = None) -> Array:
        """One number for each vector: float32 [..., D] -> [...]."""
        hidden = gelu(Dense(self.width, dtype=self.dtype, name=f"{name}_hidden")(x))
        last = nn.initializers.lecun_normal() if last is None else last
        return Dense(1, dtype=self.dtype, kernel_init=last, name=f"{name}_output")(hidden)[..., 0]


class EqualWeights(nn.Module):
    """Replaces `QualityAware` where it is switched off: LayerNorm(y), weights 1/M, reliabilities 1."""

    @nn.compact
    def __call__(self, features: dict[str, Array], masks: dict[str, Array], present: dict[str, Array]) -> Weighted:
        """Normalises the features; arguments as in `QualityAware`."""
        passed = {
            name: jnp.where(masks[name][..., None], LayerNorm(name=f"{name}_norm")(y), 0)
            for name, y in features.items()
        }
        weights = equal_weights(present)
        return Weighted(
            features=passed,
            log_weights={name: jnp.zeros(mask.shape) for name, mask in masks.items()},
            weights=weights,
            reliability={name: mask.astype(jnp.float32) for name, mask in masks.items()},
            reliability_logits={},
            share=weights,
        )


def equal_weights(present: dict[str, Array]) -> dict[str, Array]:
    """1 / M for each of the M modalities present, 0 for the absent ones: {m: bool [B]} -> {m: float32 [B]}."""
    count = jnp.maximum(sum(x.astype(jnp.float32) for x in present.values()), 1)
    return {name: x / count for name, x in present.items()}


def valid_steps(names: Sequence[str], masks: Mapping[str, Array], present: Array) -> dict[str, Array]:
    """The steps that a head may read, {m: bool [B, t_m]}: those of `masks`, in present modalities."""
    return {name: masks[name] & present[:, MODALITIES.index(name), None] for name in names}


def unweighted(valid: dict[str, Array]) -> dict[str, Any]:
    """The outputs of `Fusion` besides its logits, for a head without weights, from masks {m: bool [B, t_m]}."""
    here = {name: mask.any(1) for name, mask in valid.items()}
    weights = over_modalities(equal_weights(here))
    return {
        "weights": weights,
        "share": weights,
        "reliability": {name: mask.astype(jnp.float32) for name, mask in valid.items()},
        "reliability_logits": {},
        "informed": jnp.stack(list(here.values())).any(0),
    }


def over_modalities(columns: dict[str, Array]) -> Array:
    """{m: [B]} of the modalities in use -> [B, 3], zeros for the others."""
    zeros = jnp.zeros_like(next(iter(columns.values())))
    return jnp.stack([columns.get(name, zeros) for name in MODALITIES], axis=-1)


def _log_softmax(scores: Array, present: Array) -> Array:
    """Log-softmax over the modalities present, [B, M]; 0 for the others.

    Masked before and after with finite numbers, so that all gradients are finite.
    """
    return jnp.where(present, jax.nn.log_softmax(jnp.where(present, scores, _LOG_ZERO)), 0)


def _log_mean(x: Array, mask: Array) -> Array:
    """Log of the mean of exp(x) over the valid steps, [B, T] -> [B], without underflow of exp(x)."""
    return jax.nn.logsumexp(jnp.where(mask, x, _LOG_ZERO), axis=1) - jnp.log(_count(mask)[:, 0])


def _count(present: Array) -> Array:
    """The number of True in each row, at least 1: float32 [B, 1]."""
    return jnp.maximum(present.sum(-1, keepdims=True), 1).astype(jnp.float32)
