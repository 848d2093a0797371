"""From the features of a front end to the steps of an audio transformer."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from emi_jax.models.audio.spec_augment import spec_augment
from emi_jax.models.dense import Dense
from emi_jax.models.encoder import Encoder


class ProjectingEncoder(Encoder):
    """An encoder that projects the features of its front end and masks spans of them in training."""

    def project(self, x: jax.Array, step_mask: jax.Array, deterministic: bool) -> jax.Array:
        """Maps features `[B, T, C]` to float32 `[B, T, D]`, zeros where step_mask, bool `[B, T]`, is False."""
        config = self.config
        init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
        x = Dense(config.hidden_size, True, self.dtype, init, name="projection")(x)
        x = nn.Dropout(config.feat_proj_dropout)(x, deterministic=deterministic)
        if config.mask_time_prob > 0 or config.mask_feature_prob > 0:
            masked_embed = self.param("masked_spec_embed", nn.initializers.uniform(1.0), (config.hidden_size,))
            if not deterministic:
                x = spec_augment(self.make_rng, x, step_mask, config, masked_embed)
        return jnp.where(step_mask[:, :, None], x, 0.0)
