"""Random masking of spans while a speech encoder trains (SpecAugment, Park et al. 2019, as wav2vec 2.0 uses it)."""

import jax
import jax.numpy as jnp


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
