"""Statistics of sequences over time, and a readout of them for data sets that are too small for sequences."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from emi_jax.descriptors.statistics import PERCENTILES
from emi_jax.kernels.gelu import gelu
from emi_jax.models.dense import Dense
from emi_jax.models.pooling import masked_mean

_EPSILON = 1e-12
_SMALL = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")
"""A tenth of the usual size: training starts near the prior, and has no random predictions to unlearn."""


def pooled_statistics(x: Array, mask: Array) -> Array:
    """Pools sequences as `emi_jax.descriptors.statistics.pooled_statistics` does.

    Args:
        x: float `[B, T, D]`.
        mask: bool `[B, T]`, the valid steps.

    Returns:
        float32 `[B, 6 D]`: mean, standard deviation, 10th, 50th and 90th percentile, and the standard deviation of the
        differences between valid neighbours; zeros without valid steps.
    """
    x = x.astype(jnp.float32)
    later = mask[:, 1:] & mask[:, :-1]
    rows = [masked_mean(x, mask), _deviation(x, mask), *_percentiles(x, mask), _deviation(x[:, 1:] - x[:, :-1], later)]
    return jnp.concatenate(rows, axis=-1)


class StatisticsReadout(nn.Module):
    """One hidden layer on the statistics of each modality, each of which is trained by a loss of its own.

    A modality's prediction is linear in its hidden layer, without a sigmoid, and added to a learned prior that all
    share. With few clips of rare emotions this is more accurate than logits: sigmoids saturate near the many zeros.

    Attributes:
        num_labels: K.
        width: hidden width.
        input_dropout: dropout rate of the statistics.
        dropout: dropout rate of the hidden layer.
        dtype: dtype of the operands of matrix products.
    """

    num_labels: int
    width: int
    input_dropout: float = 0.3
    dropout: float = 0.5
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self, statistics: dict[str, Array], weights: dict[str, Array], deterministic: bool = True
    ) -> tuple[Array, dict[str, Array]]:
        """Predicts from all modalities together and from each.

        No gradient of the first reaches the readouts: its loss trains the weights alone, and each readout is trained by
        its own loss. One loss for all lets the easiest modality of the training clips stop the others from learning.

        Args:
            statistics: {m: float [B, S_m]}.
            weights: {m: float32 [B]}, which sum to 1, or to 0 for a clip without any modality.
            deterministic: False needs the rng stream "dropout".

        Returns:
            The mean of the modalities' predictions, float32 [B, K], or the prior for a clip without any modality, and
            the prediction of each modality, {m: float32 [B, K]}. They may lie outside of [0, 1].
        """
        prior = self.param("prior", nn.initializers.zeros_init(), (self.num_labels,), jnp.float32)[None]
        mean = lax.stop_gradient(prior)
        unimodal = {}
        for name, x in statistics.items():
            x = nn.Dropout(self.input_dropout, deterministic=deterministic)(x)
            hidden = gelu(Dense(self.width, dtype=self.dtype, name=f"{name}_hidden")(x))
            hidden = nn.Dropout(self.dropout, deterministic=deterministic)(hidden)
            change = Dense(self.num_labels, False, self.dtype, _SMALL, name=f"{name}_output")(hidden)
            weight = weights[name][:, None]
            mean = mean + weight * jnp.where(weight > 0, lax.stop_gradient(change), 0)
            unimodal[name] = prior + change
        return mean, unimodal


def _deviation(x: Array, mask: Array) -> Array:
    centred = x - masked_mean(x, mask)[:, None]
    variance = masked_mean(jnp.square(centred), mask)
    # The gradient of a square root at 0 is infinite, and a constant column has that variance.
    return jnp.where(variance > _EPSILON, jnp.sqrt(jnp.maximum(variance, _EPSILON)), 0)


def _percentiles(x: Array, mask: Array) -> list[Array]:
    """Interpolated linearly between the sorted valid steps."""
    ordered = jnp.sort(jnp.where(mask[..., None], x, jnp.inf), axis=1)
    count = mask.sum(1)
    found = []
    for percentile in PERCENTILES:
        place = jnp.maximum(count - 1, 0) * (percentile / 100)
        below = jnp.floor(place).astype(jnp.int32)
        above = jnp.minimum(below + 1, jnp.maximum(count - 1, 0))
        low, high = (jnp.take_along_axis(ordered, index[:, None, None], axis=1)[:, 0] for index in (below, above))
        share = (place - below)[:, None]
        value = low + share * (high - low)
        found.append(jnp.where((count > 0)[:, None], value, 0))
    return found
