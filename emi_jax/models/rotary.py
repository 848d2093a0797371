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

    def angles(self, steps: int, width: int) -> np.ndarray:
        """Radians by which each pair of features turns at each step: float32 `[steps, width / 2]`."""
        return np.arange(steps, dtype=np.float32)[:, None] * self.frequencies(width)

    def frequencies(self, width: int) -> np.ndarray:
        """Radians per step of each pair of features (RoFormer, Sec. 3.2.2): float32 `[width / 2]`."""
        exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
        return (1 / np.float32(self.theta) ** exponents / np.float32(self.factor)).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class GridRotary:
    """Rotary positions of the patches of an image (DINOv3); the steps before the patches are not turned.

    Attributes:
        theta: base of the wavelengths.
        rows: of patches; they are the last steps, row by row.
        columns: of patches.
    """

    theta: float
    rows: int
    columns: int

    def angles(self, steps: int, width: int) -> np.ndarray:
        """As `Rotary.angles`: of the first half of pairs by the height, of the second half by the width of the patch.

        The centre of a patch has coordinates of -1 to 1; a turn of the fastest pair is a coordinate of 1.
        """
        if width % 4:
            raise ValueError(f"heads are {width} wide; rotary positions of patches need a multiple of 4")
        frequencies = 1 / np.float32(self.theta) ** np.arange(0, 1, 4 / width, dtype=np.float32)
        centres = ((np.arange(n, dtype=np.float32) + 0.5) / n * 2 - 1 for n in (self.rows, self.columns))
        coordinates = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, 2, 1)
        angles = (2 * np.pi * coordinates * frequencies).reshape(-1, width // 2).astype(np.float32)
        return np.concatenate([np.zeros((steps - len(angles), width // 2), np.float32), angles])


def rotate(x: jax.Array, rotary: Rotary | GridRotary) -> jax.Array:
    """Turns the pairs (i, i + d/2) of each head's d features.

    Args:
        x: float `[B, T, heads, d]`, d even; step t of x stands at position t.
        rotary: the angles.

    Returns:
        float32, like x.
    """
    T, width = x.shape[1], x.shape[-1]
    if width % 2:
        raise ValueError(f"heads are {width} wide; rotary position embeddings need an even width")
    angles = rotary.angles(T, width)
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
