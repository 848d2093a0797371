"""What all encoders share."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.kernels.attention import Implementation
from emi_jax.models.transformer import Layer


class Encoder(nn.Module):
    """The fields of an encoder, and the layers of its transformer.

    Attributes:
        config: sizes.
        dtype: dtype of the operands of matrix products; parameters and results are float32.
        remat: recompute each layer in the backward pass instead of storing its activations.
        attention_implementation: as in `dot_product_attention`.
    """

    config: Any
    dtype: DTypeLike = jnp.float32
    remat: bool = False
    attention_implementation: Implementation | None = None

    def layer(self, kind: Any = Layer, **fields: Any) -> Any:
        """A layer of this kind with these fields, and with the heads, dtype and attention of this encoder."""
        return kind(
            num_heads=self.config.num_attention_heads,
            dtype=self.dtype,
            attention_implementation=self.attention_implementation,
            **fields,
        )
