"""The layer norm of all models."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from emi_jax.kernels.layer_norm import layer_norm


class LayerNorm(nn.Module):
    """Normalises the last axis, then scales and shifts it (Ba et al. 2016); see `kernels.layer_norm`.

    Attributes:
        epsilon: added to the variance.
        use_scale: whether it is scaled.
        use_bias: whether a bias is added.
    """

    epsilon: float = 1e-6
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps x `[..., D]` to float32 `[..., D]`."""
        D = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones_init(), (D,)) if self.use_scale else jnp.ones((D,))
        bias = self.param("bias", nn.initializers.zeros_init(), (D,)) if self.use_bias else jnp.zeros((D,))
        return layer_norm(x.astype(jnp.float32), scale, bias, self.epsilon)
