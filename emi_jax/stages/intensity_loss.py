"""The loss of stage 2, over the global batch."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from emi_jax import losses
from emi_jax.modalities import MODALITIES
from emi_jax.train.accumulation import Outputs
from emi_jax.train.mapping import AXIS
from emi_jax.train.step import Batch, Metrics


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the terms of the loss mse * MSE + correlation * (1 - rho) + ccc * (1 - CCC) + quality * BCE.

    Attributes:
        mse: weight of the mean squared error.
        correlation: lambda; 0 in the paper.
        ccc: weight of the concordance correlation, sometimes used instead of the squared error.
        quality: weight of the supervision of the step reliabilities; 0 in the paper.
        unimodal: weight of the same regression loss of the readouts of single modalities, their mean.
    """

    mse: float = 1.0
    correlation: float = 0.1
    ccc: float = 0.0
    quality: float = 0.1
    unimodal: float = 0.0


def intensity_loss(weights: Weights, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
    """The weighted terms, which are the same on every device.

    Args:
        weights: of the terms.
        outputs: of `Intensity.outputs`.
        batch: with `labels`, `label_mask` [b, K] and `valid` [b].

    Returns:
        The loss, and its terms by name.
    """
    labels, known = batch["labels"], batch["label_mask"] & batch["valid"][:, None]
    total, terms = _regression(weights, outputs["predictions"], labels, known)
    if weights.unimodal and outputs["unimodal"]:
        here = {name: outputs["present"][:, MODALITIES.index(name), None] for name in outputs["unimodal"]}
        each = [_regression(weights, x, labels, known & here[name])[0] for name, x in outputs["unimodal"].items()]
        terms["unimodal"] = jnp.mean(jnp.stack(each))
        total += weights.unimodal * terms["unimodal"]
    if weights.quality and outputs["reliability_logits"]:
        terms["quality"] = _quality_loss(outputs, batch["valid"])
        total += weights.quality * terms["quality"]
    return total, terms


def _regression(
    weights: Weights, predictions: jax.Array, labels: jax.Array, known: jax.Array
) -> tuple[jax.Array, Metrics]:
    """The loss of predictions [b, K] against labels, and its terms."""
    error = _mean(losses.squared_error(predictions, labels, known))
    rho, lost = _mean_correlation(losses.pearson, predictions, labels, known)
    total = weights.mse * error + weights.correlation * lost
    terms = {"mse": error, "rho": rho}
    if weights.ccc:
        terms["ccc"], lost = _mean_correlation(losses.ccc, predictions, labels, known)
        total += weights.ccc * lost
    return total, terms


def _quality_loss(outputs: Outputs, valid: jax.Array) -> jax.Array:
    terms = []
    for name, logits in outputs["reliability_logits"].items():
        seen = outputs["present"][:, MODALITIES.index(name)] & valid
        supervised = outputs["supervised"][name] & seen[:, None]
        terms.append(_mean(losses.reliability_loss(logits, outputs["clean"][name], supervised)))
    return jnp.mean(jnp.stack(terms))


def _mean_correlation(
    correlation: Callable[..., tuple[jax.Array, jax.Array]], predictions: jax.Array, labels: jax.Array, known: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean correlation over the labels where it is defined, and the loss 1 - mean; 0 if it is defined for none."""
    values, defined = correlation(predictions, labels, known, AXIS)
    mean = jnp.where(defined, values, 0.0).sum() / jnp.maximum(defined.sum(), 1)
    return mean, jnp.where(defined.any(), 1.0 - mean, 0.0)


def _mean(term: tuple[jax.Array, jax.Array]) -> jax.Array:
    total, count = lax.psum(term, AXIS)
    return total / jnp.maximum(count, 1)
