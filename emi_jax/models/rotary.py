"""Rotary position embeddings (Su et al. 2021, RoFormer): queries and keys are turned by angles that grow with time."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Rotary:
    """The frequencies of rotary position embeddings.

    Attributes:
        theta: base of the wavelengths.
        factor: divides every frequency; above 1 it stretches positions ("linear" scaling).
    """

    theta: float
    factor: float = 1.0

    def frequencies(self, width: int) -> np.ndarray:
        """Radians per step of each pair of features (RoFormer, Sec. 3.2.2): float32 `[width / 2]`."""
        exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
        return (1 / np.float32(self.theta) ** exponents / np.float32(self.factor)).astype(np.float32)


def rotate(x: jax.Array, rotary: Rotary) -> jax.Array:
    """Turns the pairs (i, i + d/2) of each head's d features by step * frequency_i.

    Args:
        x: float `[B, T, heads, d]`, d even; step t of x stands at position t.
        rotary: the frequencies.

    Returns:
        float32, like x.
    """
    T, width = x.shape[1], x.shape[-1]
    if width % 2:
        raise ValueError(f"heads are {width} wide; rotary position embeddings need an even width")
    angles = np.arange(T, dtype=np.float32)[:, None] * rotary.frequencies(width)
    cos, sin = (jnp.asarray(wave)[None, :, None] for wave in (np.cos(angles), np.sin(angles)))
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
