"""Random masking of spans while a speech encoder trains (SpecAugment, Park et al. 2019, as wav2vec 2.0 uses it)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def spec_augment(
    make_rng: Callable[[str], jax.Array], x: jax.Array, mask: jax.Array, config: Any, masked_embed: jax.Array | None
) -> jax.Array:
    """Masks spans of steps and of channels, as a config's `mask_time_*` and `mask_feature_*` fields say.

    Args:
        make_rng: a module's, for the stream "dropout".
        x: float `[B, T, D]`.
        mask: bool `[B, T]`, the valid steps.
        config: an encoder's config.
        masked_embed: `[D]`, what replaces a masked step; None = zeros. Masked channels become zeros.

    Returns:
        Like x; x itself if `apply_spec_augment` is False.
    """
    if not config.apply_spec_augment:
        return x
    if config.mask_time_prob > 0:
        time = config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks
        steps = span_mask(make_rng("dropout"), mask, *time)[:, :, None]
        x = jnp.where(steps, 0.0 if masked_embed is None else masked_embed[None, None], x)
    if config.mask_feature_prob > 0:
        feature = config.mask_feature_prob, config.mask_feature_length, config.mask_feature_min_masks
        channels = span_mask(make_rng("dropout"), jnp.ones((x.shape[0], x.shape[-1]), bool), *feature)[:, None, :]
        x = jnp.where(channels, 0.0, x)
    return x


def span_mask(rng: jax.Array, mask: jax.Array, mask_prob: float, span: int, min_spans: int) -> jax.Array:
    """Draws spans with the counts and the distribution of Hugging Face's `_compute_mask_indices`, in fixed shapes.

    A row of n valid steps gets `floor(mask_prob * n / span + u)` spans, u uniform in [0, 1) and shared by the rows, but
    at least `min_spans` and at most what fits; their starts are drawn without replacement; spans may overlap.

    Args:
        rng: a PRNG key.
        mask: bool `[B, T]`, the valid steps, which come first in each row.
        mask_prob: share of steps covered if no spans overlapped.
        span: steps in a span.
        min_spans: fewest spans in a row that has room for them.

    Returns:
        bool `[B, T]`, True = masked; never a step of the padding.
    """
    T = mask.shape[1]
    rounding, choice = jax.random.split(rng)
    lengths = mask.sum(axis=1)
    starts = jnp.maximum(lengths - (span - 1), 0)
    count = jnp.floor(mask_prob * lengths / span + jax.random.uniform(rounding)).astype(jnp.int32)
    count = jnp.minimum(jnp.maximum(count, min_spans), jnp.minimum(T // span, starts))
    # The first `count` starts of a random order: the ranks of scores, impossible starts last.
    possible = jnp.arange(T)[None] < starts[:, None]
    score = jnp.where(possible, jax.random.uniform(choice, mask.shape), 2.0)
    chosen = jnp.argsort(jnp.argsort(score, axis=1), axis=1) < count[:, None]
    begun = jnp.cumsum(chosen, axis=1)
    ended = jnp.pad(begun, ((0, 0), (span, 0)))[:, :T]
    return begun > ended
