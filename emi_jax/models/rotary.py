"""Rotary position embeddings (Su et al. 2021, RoFormer): queries and keys are turned by angles that grow with time."""

import dataclasses
from collections.abc import Mapping

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


def read_rotary(parameters: object, theta: float, width: int) -> Rotary:
    """Reads the `rope_parameters` or `rope_scaling` of a Hugging Face config.

    Args:
        parameters: the value of that field; None = no scaling.
        theta: the base if `parameters` has none.
        width: features of a head.

    Returns:
        The frequencies. "ntk" scaling (kexue.fm/archives/9706, Eq. 6; GTE) by f is a base f times as large and
        frequencies smaller by f^(2 / width).

    Raises:
        ValueError: another type of scaling, or a malformed value.
    """
    if not isinstance(parameters := {} if parameters is None else parameters, Mapping):
        raise ValueError(f"rope parameters are {parameters!r}: expected an object")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    theta, factor = parameters.get("rope_theta", theta), parameters.get("factor", 1.0)
    for name, value in (("rope_theta", theta), ("factor", factor)):
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ValueError(f"{name} = {value!r}: expected a positive number")
    if kind == "default":
        return Rotary(float(theta))
    if kind == "linear":
        return Rotary(float(theta), float(factor))
    if kind == "ntk" and parameters.get("mixed_b") is None:
        return Rotary(float(theta * factor), float(factor ** (2 / width)))
    raise ValueError(f"rope parameters {dict(parameters)} are not supported; choose the type default, linear or ntk")
