"""Which samples each step of an audio encoder hears: its mask, its share of flagged samples, its time."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from emi_jax.modalities import SAMPLE_RATE


@dataclasses.dataclass(frozen=True)
class Steps:
    """The windows of samples that the steps of an audio encoder hear.

    Attributes:
        width: of a window, in samples.
        stride: between windows, in samples.
        centred: False = the first window begins at the first sample, and a step is valid if its whole window is, as in
            wav2vec 2.0, whose convolutions have no padding. True = step i is centred at sample i * stride, windows
            reach beyond the ends of the clip, and a step is valid if the sample at its centre is, as in Whisper.
    """

    width: int
    stride: int
    centred: bool = False

    @property
    def min_samples(self) -> int:
        """The fewest samples that make a step."""
        return 1 if self.centred else self.width

    def count(self, samples: int) -> int:
        """The number of steps T of S samples.

        Raises:
            ValueError: S is smaller than `min_samples`.
        """
        if samples < self.min_samples:
            raise ValueError(
                f"{samples} samples are fewer than the {self.min_samples} that one step needs: pad the audio"
            )
        return -(-samples // self.stride) if self.centred else (samples - self.width) // self.stride + 1

    def mask(self, mask: jax.Array) -> jax.Array:
        """The valid steps: for masks whose padding comes last, those that Hugging Face's feature extractors keep.

        Args:
            mask: bool `[B, S]`, True = a sample, False = padding.

        Returns:
            bool `[B, T]`.
        """
        if self.centred:
            return jnp.asarray(mask)[:, :: self.stride]
        return count_true(mask, self.width, self.stride) == self.width

    def share(self, flags: jax.Array) -> jax.Array:
        """The share of flagged samples among those of the clip that each step hears.

        Args:
            flags: bool `[B, S]`.

        Returns:
            float32 `[B, T]` in [0, 1].
        """
        samples = flags.shape[1]
        if not self.centred:
            return count_true(flags, self.width, self.stride) / self.width
        before = self.width // 2
        after = (self.count(samples) - 1) * self.stride + self.width - before - samples
        padding = before, max(after, 0)
        heard = count_true(jnp.asarray(np.pad(np.ones((1, samples), bool), ((0, 0), padding))), self.width, self.stride)
        flagged = count_true(jnp.pad(flags, ((0, 0), padding)), self.width, self.stride)
        return flagged[:, : self.count(samples)] / heard[:, : self.count(samples)]

    def seconds(self, steps: int) -> np.ndarray:
        """The time of each of T steps, float32 `[T]`: the middle of its window, since the first sample."""
        middle = 0.0 if self.centred else self.width / 2
        return ((np.arange(steps) * self.stride + middle) / SAMPLE_RATE).astype(np.float32)


def count_true(flags: jax.Array, width: int, stride: int) -> jax.Array:
    """Counts True in windows of `width` samples every `stride`: int32 `[B, T]`."""
    B, length = flags.shape
    steps, unit = Steps(width, stride).count(length), math.gcd(width, stride)
    units = flags[:, : length // unit * unit].reshape(B, -1, unit).sum(axis=2, dtype=jnp.int32)
    total = jnp.cumsum(jnp.pad(units, ((0, 0), (1, 0))), axis=1)
    return total[:, width // unit :: stride // unit][:, :steps] - total[:, :: stride // unit][:, :steps]


def frame(x: jax.Array, width: int, stride: int) -> jax.Array:
    """Cuts x `[B, T, C]` into windows: `[B, (T - width) // stride + 1, width * C]`, time before channel."""
    last = (Steps(width, stride).count(x.shape[1]) - 1) * stride + 1
    return jnp.concatenate([x[:, first : first + last : stride] for first in range(width)], axis=-1)
