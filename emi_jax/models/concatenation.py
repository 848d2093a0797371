"""The head of the 2025 winner (arXiv 2504.11460): each modality's mean over time, side by side, and an MLP."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from emi_jax.modalities import MODALITIES, in_order
from emi_jax.models.decoder import Pooled
from emi_jax.models.quality import unweighted, valid_steps


class Concatenation(nn.Module):
    """Pools the encoders' features without a projection; an absent modality is a vector of zeros.

    Written from the paper's description. Its depth and width are not published; here it has one hidden layer.

    Attributes:
        num_labels: K.
        width: hidden width of the MLP.
        modalities: in use.
        dropout: dropout rate after the activation.
        dtype: dtype of the operands of matrix products.
    """

    num_labels: int
    width: int = 256
    modalities: tuple[str, ...] = MODALITIES
    dropout: float = 0.1
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(
        self,
        features: Mapping[str, Array],
        masks: Mapping[str, Array],
        times: Mapping[str, Array],
        present: Array,
        deterministic: bool = True,
    ) -> tuple[Array, dict[str, Any]]:
        """Predicts the intensities; arguments and results as in `Fusion`, with equal weights and no quality logits."""
        del times  # means over time do not depend on them
        names = in_order(self.modalities)
        valid = valid_steps(names, masks, present)
        seen = {name: features[name] for name in names}
        pooled = Pooled(self.num_labels, self.width, self.dropout, self.dtype, name="pooled")
        logits = pooled(seen, valid, deterministic)
        return jax.nn.sigmoid(logits), unweighted(valid)
