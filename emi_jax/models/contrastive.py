"""Stage 1: vision and audio, each aligned with text (Radford et al. 2021; image and audio never meet directly)."""

import math
from collections.abc import Collection, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.models.dense import Dense
from emi_jax.models.towers import Encoded, Towers

MAX_LOGIT_SCALE = 100.0
"""The logit scale, the inverse temperature, is clamped here (Radford et al. 2021, 2.5)."""
INITIAL_LOGIT_SCALE = 1 / 0.07


class ContrastivePair(nn.Module):
    """Two projections to a common width and a learned temperature, clamped at 1 / `MAX_LOGIT_SCALE`.

    Attributes:
        modality: paired with text.
        width: the common width P.
        dtype: dtype of the operands of the projections.
    """

    modality: str
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, left: jax.Array, text: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Projects clip vectors.

        Args:
            left: float `[B, D]` of the modality.
            text: float `[B, D]`.

        Returns:
            Both as unit vectors, float32 `[B, P]`, and the logit scale, float32 `[]`, at most `MAX_LOGIT_SCALE`.
        """

        def project(x: jax.Array, name: str) -> jax.Array:
            x = Dense(self.width, use_bias=False, dtype=self.dtype, name=f"{name}_projection")(x)
            # The epsilon inside the root keeps the gradient finite at a zero vector, of a clip with nothing valid.
            return x * jax.lax.rsqrt(jnp.square(x).sum(axis=-1, keepdims=True) + 1e-12)

        log_scale = self.param("logit_scale", nn.initializers.constant(math.log(INITIAL_LOGIT_SCALE)), ())
        # The gradient passes through the clamp; otherwise a scale above the limit could never decrease again.
        clamped = jnp.minimum(log_scale, math.log(MAX_LOGIT_SCALE))
        scale = jnp.exp(log_scale + jax.lax.stop_gradient(clamped - log_scale))
        return project(left, self.modality), project(text, TEXT), scale


class ContrastivePairs(nn.Module):
    """All pairs of a model, by modality."""

    modalities: tuple[str, ...]
    width: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, clips: Mapping[str, jax.Array]) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
        """Projects clip vectors, float `[B, D]` by modality."""
        return {
            name: ContrastivePair(name, self.width, self.dtype, name=name)(clips[name], clips[TEXT])
            for name in self.modalities
        }


class ContrastiveModel(nn.Module):
    """Towers and pairs: parameters under `towers` (as stage 2 takes them) and `pairs`.

    Attributes:
        towers: the encoders.
        modalities: those paired with text; the tower of any other is neither run nor initialised.
        width: the common width P of each pair.
        dtype: dtype of the operands of the projections.
    """

    towers: Towers
    modalities: tuple[str, ...] = (VISION, AUDIO)
    width: int = 256
    dtype: DTypeLike = jnp.float32

    def setup(self) -> None:  # noqa: D102
        self.pairs = ContrastivePairs(self.modalities, self.width, self.dtype)

    def __call__(
        self, batch: Mapping[str, jax.Array], trained: Collection[str] = ()
    ) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
        """Embeds a batch.

        Args:
            batch: as `Towers` takes it.
            trained: as for `encode`.

        Returns:
            For each pair, by its modality: its unit vectors and the text's, float32 `[B, P]`, and the logit scale `[]`.
        """
        return self.project({name: clip for name, (_, clip, _) in self.encode(batch, trained).items()})

    def encode(self, batch: Mapping[str, jax.Array], trained: Collection[str] = ()) -> dict[str, Encoded]:
        """What the towers of the pairs return: (sequence, clip, mask) by modality.

        Args:
            batch: as `Towers` takes it.
            trained: modalities whose towers run with dropout; they need the rng stream "dropout".
        """
        encoded: dict[str, Encoded] = {}
        for name in (*self.modalities, TEXT):
            encoded |= self.towers(batch, name not in trained, (name,))
        return encoded

    def project(self, clips: Mapping[str, jax.Array]) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
        """The pairs of clip vectors, float `[B, D]` by modality; returns what calling the model returns."""
        return self.pairs(clips)
