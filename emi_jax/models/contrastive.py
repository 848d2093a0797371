"""Stage 1: vision and audio, each aligned with text (Radford et al. 2021; image and audio never meet directly)."""

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.models.dense import Dense
from emi_jax.models.readout import readouts_of
from emi_jax.models.towers import Towers

Vectors = tuple[jax.Array, jax.Array]

INFO_NCE, SIGMOID = LOSSES = ("infonce", "sigmoid")
"""The losses that pairs can be trained by: CLIP's (Radford et al. 2021) or SigLIP's (Zhai et al. 2023)."""
INITIAL_LOGIT_SCALE = {INFO_NCE: 1 / 0.07, SIGMOID: 10.0}
"""The initial logit scale, the inverse temperature, of each loss, as its authors set it."""
MAX_LOGIT_SCALE = 100.0
"""InfoNCE's logit scale is clamped here (Radford et al. 2021, 2.5)."""
INITIAL_LOGIT_BIAS = -10.0
"""The sigmoid loss starts from here, as nearly all pairs of clips do not match (Zhai et al. 2023, 3.2)."""


class Embedded(NamedTuple):
    """One pair's embeddings of a batch and the parameters of its logits.

    Attributes:
        left: unit vectors of the modality, float32 `[B, P]`.
        text: unit vectors of the text, float32 `[B, P]`.
        scale: the logit scale, float32 `[]`.
        bias: the logit bias, float32 `[]`; None with InfoNCE, which does not depend on it.
    """

    left: jax.Array
    text: jax.Array
    scale: jax.Array
    bias: jax.Array | None


class ContrastivePair(nn.Module):
    """Two projections to a common width, a learned temperature and, for the sigmoid loss, a learned bias.

    Attributes:
        modality: paired with text.
        width: the common width P.
        dtype: dtype of the operands of the projections.
        loss: the loss that trains the pair, one of `LOSSES`.
    """

    modality: str
    width: int
    dtype: DTypeLike = jnp.float32
    loss: str = INFO_NCE

    @nn.compact
    def __call__(self, left: jax.Array, text: jax.Array) -> Embedded:
        """Projects clip vectors.

        Args:
            left: float `[B, D]` of the modality.
            text: float `[B, D]`.
        """

        def project(x: jax.Array, name: str) -> jax.Array:
            x = Dense(self.width, use_bias=False, dtype=self.dtype, name=f"{name}_projection")(x)
            # The epsilon inside the root keeps the gradient finite at a zero vector, of a clip with nothing valid.
            return x * jax.lax.rsqrt(jnp.square(x).sum(axis=-1, keepdims=True) + 1e-12)

        initial = nn.initializers.constant(math.log(INITIAL_LOGIT_SCALE[self.loss]))
        log_scale, bias = self.param("logit_scale", initial, ()), None
        if self.loss == SIGMOID:
            bias = self.param("logit_bias", nn.initializers.constant(INITIAL_LOGIT_BIAS), ())
        else:
            # The gradient passes through the clamp; otherwise a scale above the limit could never decrease again.
            clamped = jnp.minimum(log_scale, math.log(MAX_LOGIT_SCALE))
            log_scale = log_scale + jax.lax.stop_gradient(clamped - log_scale)
        return Embedded(project(left, self.modality), project(text, TEXT), jnp.exp(log_scale), bias)


class ContrastivePairs(nn.Module):
    """All pairs of a model, by modality."""

    modalities: tuple[str, ...]
    width: int
    dtype: DTypeLike = jnp.float32
    loss: str = INFO_NCE

    @nn.compact
    def __call__(self, clips: Mapping[str, jax.Array]) -> dict[str, Embedded]:
        """Projects clip vectors, float `[B, D]` by modality."""
        return {
            name: ContrastivePair(name, self.width, self.dtype, self.loss, name=name)(clips[name], clips[TEXT])
            for name in self.modalities
        }


class ContrastiveModel(nn.Module):
    """Towers, their readouts and pairs: parameters under `towers` (as stage 2 takes them), `readouts` and `pairs`.

    Attributes:
        towers: the encoders.
        modalities: those paired with text; the tower of any other is neither run nor initialised.
        width: the common width P of each pair.
        dtype: dtype of the operands of the projections.
        loss: the loss that trains the pairs, one of `LOSSES`.
    """

    towers: Towers
    modalities: tuple[str, ...] = (VISION, AUDIO)
    width: int = 256
    dtype: DTypeLike = jnp.float32
    loss: str = INFO_NCE

    def setup(self) -> None:  # noqa: D102
        self.readouts = readouts_of(self.towers)
        self.pairs = ContrastivePairs(self.modalities, self.width, self.dtype, self.loss)

    def __call__(self, batch: Mapping[str, jax.Array], trained: Collection[str] = ()) -> dict[str, Embedded]:
        """Embeds a batch.

        Args:
            batch: as `Towers` takes it.
            trained: as for `encode`.

        Returns:
            The embeddings of each pair, by its modality.
        """
        return self.project({name: clip for name, (clip, _) in self.encode(batch, trained).items()})

    def encode(self, batch: Mapping[str, jax.Array], trained: Collection[str] = ()) -> dict[str, Vectors]:
        """The clip vectors and the valid steps of each modality: as the batch holds them, or from the towers.

        Args:
            batch: as `Towers` takes it; `{modality}/mask` and `/vector`, or `/features` for a modality with a readout,
                take the place of a tower.
            trained: modalities whose towers run with dropout; they need the rng stream "dropout".
        """
        encoded: dict[str, Vectors] = {}
        for name in (*self.modalities, TEXT):
            reads = name in self.readouts.names
            if f"{name}/mask" in batch:
                given, mask = batch[f"{name}/features" if reads else f"{name}/vector"], batch[f"{name}/mask"]
            else:
                states, clip, mask = self.towers(batch, name not in trained, (name,))[name]
                given = states if reads else clip
            encoded[name] = self.readouts.vectors({name: (given, mask)})[name] if reads else given, mask
        return encoded

    def project(self, clips: Mapping[str, jax.Array]) -> dict[str, Embedded]:
        """The pairs of clip vectors, float `[B, D]` by modality; returns what calling the model returns."""
        return self.pairs(clips)
