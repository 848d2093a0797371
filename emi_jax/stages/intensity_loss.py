"""The loss of stage 2, over the global batch."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
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
        unimodal: weight of the same regression loss of the predictions from single modalities, their mean.
        balance: from 0 to 1, how much the squared errors of labels that vary little are raised.
        labels: the factors of each label's squared errors that follow from `balance` and the training labels; none
            before they are known, see `label_weights`.
    """

    mse: float = 1.0
    correlation: float = 0.1
    ccc: float = 0.0
    quality: float = 0.1
    unimodal: float = 0.0
    balance: float = 0.0
    labels: tuple[float, ...] = ()


def label_weights(labels: np.ndarray, balance: float) -> tuple[float, ...]:
    """Factors of each label's squared errors: its variance to the power of -`balance`, scaled to a mean of 1.

    With 1 each label contributes to the loss by the share of its variance that is not explained, so that a rare one,
    which is nearly always 0, counts as much as any other. Labels that never vary or are unknown have the factor 1.

    Args:
        labels: float [n, K], NaN where unknown.
        balance: from 0, where labels count alike, to 1.
    """
    known = np.isfinite(labels)
    count = np.maximum(known.sum(axis=0), 1)
    values = np.where(known, labels, 0).astype(np.float64)
    variance = np.where(known, np.square(values - values.sum(axis=0) / count), 0).sum(axis=0) / count
    varies, factors = variance > 0, np.ones(labels.shape[1])
    if varies.any():
        raised = variance[varies] ** -balance
        factors[varies] = raised / raised.mean()
    return tuple(factors.tolist())


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
    error = _mean(losses.squared_error(predictions, labels, known, weights.labels))
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
