"""What is read out of a tower: a learned mix of its layers, and learned attention over what becomes one vector.

The modules lie outside of the towers: they are trained while the towers are frozen and their layers cached.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from emi_jax.modalities import MODALITIES, VISION
from emi_jax.models.pooling import ATTENTION, AttentionPooling, masked_mean

LAST, MIX = "last", "mix"
"""The encoder's output; a mix of all hidden states. Anything else is a tuple of the numbers of those that are mixed."""

EPSILON = 1e-5
"""As in `torch.nn.functional.layer_norm`."""


class LayerMix(nn.Module):
    """A learned mean of hidden states (Peters et al. 2018, Eq. 1; Yang et al. 2021, 3.1).

    Each state is normalised over its channels, since their scales differ by layer, and weighted by a softmax over one
    logit a layer. At the start all weights are equal.
    """

    @nn.compact
    def __call__(self, states: jax.Array) -> jax.Array:
        """Maps states `[..., n, D]` to float32 `[..., D]`."""
        logits = self.param("layer_logits", nn.initializers.zeros_init(), states.shape[-2:-1])
        return jnp.einsum("n,...nd->...d", jax.nn.softmax(logits), _normalised(states.astype(jnp.float32)))


class Readout(nn.Module):
    """From the states of one tower to the steps of stage 2 and the clip vectors of stage 1.

    Attributes:
        mixes: whether the states have an axis of layers.
        pools_steps: whether each step consists of parts, pooled by learned attention: the patches of a frame.
        pools_clips: whether a clip's vector is its steps pooled by learned attention.
    """

    mixes: bool = False
    pools_steps: bool = False
    pools_clips: bool = False

    def setup(self) -> None:  # noqa: D102
        if self.mixes:
            self.mix = LayerMix()
        if self.pools_steps:
            self.step_pooling = AttentionPooling()
        if self.pools_clips:
            self.clip_pooling = AttentionPooling()

    def steps(self, states: jax.Array) -> jax.Array:
        """The steps `[B, T, D]` of states `[B, T, (parts,) (layers,) D]`."""
        if self.mixes:
            states = self.mix(states)
        return self.step_pooling(states) if self.pools_steps else states

    def vectors(self, states: jax.Array, mask: jax.Array) -> jax.Array:
        """The clip vectors, float32 `[B, D]`; mask bool `[B, T]`, the valid steps."""
        steps = self.steps(states)
        return self.clip_pooling(steps, mask) if self.pools_clips else masked_mean(steps, mask)


class Readouts(nn.Module):
    """The readouts of the towers that need one; None for the others."""

    vision: Readout | None = None
    audio: Readout | None = None
    text: Readout | None = None

    @property
    def names(self) -> list[str]:
        """The modalities that have one, in the order of `MODALITIES`."""
        return [name for name in MODALITIES if getattr(self, name) is not None]

    def steps(self, states: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        """`Readout.steps` of the states of each modality."""
        return {name: getattr(self, name).steps(array) for name, array in states.items()}

    def vectors(self, states: Mapping[str, tuple[jax.Array, jax.Array]]) -> dict[str, jax.Array]:
        """`Readout.vectors` of the states and the mask of each modality."""
        return {name: getattr(self, name).vectors(*arrays) for name, arrays in states.items()}


def readouts_of(towers: Any) -> Readouts:
    """The readouts that towers need, by their `layers` and `pooling`."""
    made: dict[str, Any] = {}
    for name in MODALITIES:
        tower = getattr(towers, name)
        if tower is not None and (tower.layers != LAST or tower.pooling == ATTENTION):
            attends = tower.pooling == ATTENTION
            made[name] = Readout(tower.layers != LAST, attends and name == VISION, attends and name != VISION)
    return Readouts(**made)


def parse_layers(text: str) -> str | tuple[int, ...]:
    """`layers` of a tower from a config: `last`, `mix`, or numbers as in `4,8,-1`.

    Raises:
        ValueError: it is none of these.
    """
    if text in (LAST, MIX):
        return text
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ValueError(
            f"layers={text!r}: expected {LAST}, {MIX}, or numbers of hidden states joined by commas"
        ) from None


def choose(states: tuple[jax.Array, ...], layers: str | tuple[int, ...]) -> jax.Array:
    """The chosen hidden states `[..., D]`, stacked: `[..., n, D]`.

    Args:
        states: after the embedding and after each layer.
        layers: `MIX` for all, or their numbers; negative ones count from the end.

    Raises:
        ValueError: there is no such state, or one is named twice.
    """
    numbers = range(len(states)) if layers == MIX else layers
    try:
        places = [range(len(states))[number] for number in numbers]  # type: ignore[index]
    except IndexError:
        raise ValueError(f"layers = {layers}: the encoder has the hidden states 0 to {len(states) - 1}") from None
    if len(set(places)) < len(places):
        raise ValueError(f"layers = {layers}: a hidden state is named twice")
    return jnp.stack([states[place] for place in places], axis=-2)


def _normalised(x: jax.Array) -> jax.Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=-1, keepdims=True) + EPSILON)
