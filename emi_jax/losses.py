"""Losses over a batch that may be spread over devices: masked, float32 inside, exact with unequal counts.

Each loss returns a sum and a count, so that the step divides once, after `psum`: `psum(sum) / psum(count)` is the mean
over the global batch, however many valid clips each device holds. Terms that are not sums over clips (InfoNCE's
columns, the moments of a correlation) take the name of the mapped axis and reduce over it themselves; without a name
one device holds the whole batch.

The gradient rule: the loss inside the step is the fully reduced scalar, the same on every device,
and its gradients are `pmean`-ed.

Letters: b clips on this device, B in the global batch, P projection width, K labels.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import Array, lax

# Relative to the root mean square, smaller deviations are the rounding of a constant column, not variation.
_ROUNDING = 16 * float(jnp.finfo(jnp.float32).eps)


def info_nce(
    left: Array, right: Array, transcript_hash: Array, valid: Array, scale: Array, axis_name: str | None = None
) -> tuple[Array, Array]:
    """Symmetric InfoNCE over the global batch, with equal transcripts as positives of each other.

    For a valid row i with positives P(i) = {j valid: hash_j = hash_i} and logits s_ij = scale l_i . r_j,
    the left-to-right term is logsumexp_j s_ij - mean of s_ij over P(i); the other direction swaps l and r. With all
    transcripts different this is CLIP's loss (Radford et al. 2021, fig. 3); the match matrix is ours.

    Args:
        left: [b, P] L2-normalised embeddings.
        right: [b, P] L2-normalised embeddings of the same clips.
        transcript_hash: int [b], equal for clips with the same transcript, which are positives of each other.
        valid: bool [b]; the other clips are neither rows nor columns, and their embeddings are not read.
        scale: scalar, the inverse temperature.
        axis_name: mapped axis whose devices hold the rest of the batch.

    Returns:
        Sum over this device's valid rows of half of both directions, and the number of those rows. Memory b x B.
    """
    left, right, columns, match = _global_pairs(left, right, transcript_hash, valid, axis_name)
    targets = match / jnp.maximum(match.sum(1, keepdims=True), 1)

    def similarity(x: Array, others: Array) -> Array:
        return scale * _products(x, others, axis_name)

    def normaliser(logits: Array, axis: int) -> Array:
        valid_entries = jnp.expand_dims(columns, 1 - axis)
        return jax.nn.logsumexp(jnp.where(valid_entries, logits, jnp.finfo(jnp.float32).min), axis=axis)

    left_to_right = similarity(left, right)
    if columns.shape == valid.shape:
        # One device holds the whole batch: the other direction is the transpose of the same logits. The match matrix is
        # symmetric and clips that match have equally many matches, so its term has the same sum in both directions.
        rows = normaliser(left_to_right, 1) + normaliser(left_to_right, 0) - 2 * (targets * left_to_right).sum(1)
    else:
        right_to_left = similarity(right, left)
        rows = normaliser(left_to_right, 1) + normaliser(right_to_left, 1)
        rows = rows - (targets * (left_to_right + right_to_left)).sum(1)
    return jnp.where(valid, rows / 2, 0).sum(), valid.sum().astype(jnp.float32)


def sigmoid_contrast(
    left: Array,
    right: Array,
    transcript_hash: Array,
    valid: Array,
    scale: Array,
    bias: Array,
    axis_name: str | None = None,
) -> tuple[Array, Array]:
    """SigLIP's loss over the global batch (Zhai et al. 2023, arXiv 2303.15343, Eq. 1): each pair of clips by itself.

    With logits s_ij = scale l_i . r_j + bias, row i is the sum over valid j of -log sigmoid(z_ij s_ij), where z_ij = 1
    if the transcripts of i and j are equal, so also for i = j, and -1 otherwise.

    Args:
        left: [b, P] L2-normalised embeddings.
        right: [b, P] L2-normalised embeddings of the same clips.
        transcript_hash: int [b], equal for clips with the same transcript.
        valid: bool [b]; the other clips are neither rows nor columns, and their embeddings are not read.
        scale: scalar, the inverse temperature.
        bias: scalar; negative, as most pairs do not match.
        axis_name: mapped axis whose devices hold the rest of the batch.

    Returns:
        Sum over this device's valid rows, and the number of those rows. Memory b x B.
    """
    left, right, columns, match = _global_pairs(left, right, transcript_hash, valid, axis_name)
    logits = scale * _products(left, right, axis_name) + bias
    loss = -jax.nn.log_sigmoid(jnp.where(match, logits, -logits))
    return jnp.where(valid[:, None] & columns[None, :], loss, 0).sum(), valid.sum().astype(jnp.float32)


def squared_error(pred: Array, labels: Array, mask: Array, weights: Sequence[float] = ()) -> tuple[Array, Array]:
    """Sum of squared errors over the known entries, and their number.

    Args:
        pred: [b, K].
        labels: [b, K]; anything, NaN included, where the mask is False.
        mask: bool [b, K], True where the label is known.
        weights: of each label's squared errors, K; alike if empty.
    """
    error = jnp.where(mask, pred.astype(jnp.float32) - jnp.where(mask, labels, 0), 0)
    squares = jnp.square(error)
    if weights:
        squares = squares * jnp.array(weights, jnp.float32)[None, :]
    return squares.sum(), mask.sum().astype(jnp.float32)


def reliability_loss(logits: Array, clean: Array, supervised: Array) -> tuple[Array, Array]:
    """Binary cross-entropy of the step reliabilities against "not corrupted": sum and number of the supervised steps.

    Args:
        logits: [b, T], reliability = sigmoid(logits).
        clean: [b, T] bool, or the share in [0, 1] of the step that is not corrupted.
        supervised: bool [b, T], the steps that are supervised.
    """
    logits, clean = logits.astype(jnp.float32), clean.astype(jnp.float32)
    loss = -(clean * jax.nn.log_sigmoid(logits) + (1 - clean) * jax.nn.log_sigmoid(-logits))
    return jnp.where(supervised, loss, 0).sum(), supervised.sum().astype(jnp.float32)


def pearson(pred: Array, labels: Array, mask: Array, axis_name: str | None = None) -> tuple[Array, Array]:
    """Pearson's correlation of each label over the global batch.

    A constant prediction has correlation 0 and gradient 0; with a constant or unknown label it is undefined.

    Args:
        pred: [b, K].
        labels: [b, K]; anything, NaN included, where the mask is False.
        mask: bool [b, K], True where the label is known.
        axis_name: mapped axis whose devices hold the rest of the batch.

    Returns:
        Correlations, float32 [K], 0 where undefined; and whether each is defined, bool [K].
    """
    _, _, pred_variance, label_variance, covariance = _moments(pred, labels, mask, axis_name)
    # `_moments` returns a variance of exactly 0 for a constant column.
    usable = (pred_variance > 0) & (label_variance > 0)
    spread = jnp.sqrt(jnp.where(usable, pred_variance, 1)) * jnp.sqrt(jnp.where(usable, label_variance, 1))
    return jnp.where(usable, covariance / spread, 0), label_variance > 0


def ccc(pred: Array, labels: Array, mask: Array, axis_name: str | None = None) -> tuple[Array, Array]:
    """Lin's concordance correlation 2 cov / (var_p + var_l + (mean_p - mean_l)^2); otherwise as `pearson`."""
    pred_mean, label_mean, pred_variance, label_variance, covariance = _moments(pred, labels, mask, axis_name)
    defined = label_variance > 0
    spread = pred_variance + label_variance + jnp.square(pred_mean - label_mean)
    return jnp.where(defined, 2 * covariance / jnp.where(defined, spread, 1), 0), defined


def _global_pairs(
    left: Array, right: Array, transcript_hash: Array, valid: Array, axis_name: str | None
) -> tuple[Array, Array, Array, Array]:
    """Embeddings with zeros for clips that are not valid, the valid columns [B], and the pairs that match [b, B]."""
    left, right = (jnp.where(valid[:, None], x, 0).astype(jnp.float32) for x in (left, right))
    columns = _gather(valid, axis_name)
    equal = transcript_hash[:, None] == _gather(transcript_hash, axis_name)[None, :]
    return left, right, columns, equal & valid[:, None] & columns[None, :]


def _products(x: Array, others: Array, axis_name: str | None) -> Array:
    """Inner products of this device's x [b, P] with the others of all devices: [b, B]."""
    # A TF32 product would be off by a tenth at scale 100.
    return jnp.matmul(x, _gather(others, axis_name).T, precision=lax.Precision.HIGHEST)


def _gather(x: Array, axis_name: str | None) -> Array:
    return x if axis_name is None else lax.all_gather(x, axis_name, tiled=True)


def _moments(pred: Array, labels: Array, mask: Array, axis_name: str | None) -> tuple[Array, ...]:
    """Means, variances and covariance [K] over the known entries, in two passes: means, then deviations from them."""

    def totals(*columns: Array) -> tuple[Array, ...]:
        sums = tuple(jnp.where(mask, x, 0).sum(0) for x in columns)
        return sums if axis_name is None else lax.psum(sums, axis_name)

    pred, labels = (jnp.where(mask, x, 0).astype(jnp.float32) for x in (pred, labels))
    count, *first = totals(jnp.ones_like(pred), pred, labels, jnp.square(pred), jnp.square(labels))
    count = jnp.maximum(count, 1)
    pred_mean, label_mean, pred_power, label_power = (x / count for x in first)

    p, y = pred - pred_mean[None, :], labels - label_mean[None, :]
    pred_variance, label_variance, covariance = (x / count for x in totals(jnp.square(p), jnp.square(y), p * y))
    pred_variance = jnp.where(pred_variance > _ROUNDING**2 * pred_power, pred_variance, 0)
    label_variance = jnp.where(label_variance > _ROUNDING**2 * label_power, label_variance, 0)
    return pred_mean, label_mean, pred_variance, label_variance, covariance
