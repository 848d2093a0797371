"""The layer norm of all models."""

from functools import partial

import flax.linen as nn

LayerNorm = partial(nn.LayerNorm, use_fast_variance=False)
"""Flax's, with the variance taken in two passes: the mean of squares less the squared mean loses digits where the mean
is large, and checkpoints were trained without that loss."""
