"""Towers: from the raw arrays of a batch to a sequence and a vector for each clip."""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION
from emi_jax.models.pooling import masked_mean

Encoded = tuple[jax.Array, jax.Array, jax.Array]

# The arrays of a batch that each tower reads.
INPUTS = {VISION: ("frames", "frame_mask"), AUDIO: ("audio", "audio_mask"), TEXT: ("tokens", "token_mask")}


class VisionTower(nn.Module):
    """Encodes each frame separately.

    Attributes:
        encoder: an image encoder.
        image_mean: mean of each channel of pixels in [0, 1] that the encoder was trained with.
        image_std: their standard deviation.
    """

    encoder: nn.Module
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]

    def __call__(self, frames: jax.Array, mask: jax.Array, deterministic: bool = True) -> Encoded:
        """Encodes clips.

        Args:
            frames: uint8 `[B, N, H, W, 3]`, RGB.
            mask: bool `[B, N]`, True = a frame with a face.
            deterministic: False needs the rng stream "dropout".

        Returns:
            One pooled vector for each frame, float32 `[B, N, D]`; their masked mean `[B, D]`; the mask `[B, N]`.
        """
        B, N, *image = frames.shape
        mean, std = (jnp.asarray(x, jnp.float32).reshape(1, 1, 1, 3) for x in (self.image_mean, self.image_std))
        pixels = (frames.reshape(B * N, *image).astype(jnp.float32) / 255.0 - mean) / std
        _, pooled = self.encoder(pixels, None, deterministic)
        sequence = pooled.reshape(B, N, -1)
        return sequence, masked_mean(sequence, mask), mask


class AudioTower(nn.Module):
    """Encodes the voice.

    Attributes:
        encoder: an audio encoder, whose config says which samples its `steps` hear.
        normalize: whether the encoder was trained on clips of zero mean and unit variance.
    """

    encoder: nn.Module
    normalize: bool

    def __call__(self, audio: jax.Array, mask: jax.Array, deterministic: bool = True) -> Encoded:
        """Encodes clips.

        Args:
            audio: int16 `[B, S]` at 16 kHz.
            mask: bool `[B, S]`, True = a sample, False = padding.
            deterministic: False needs the rng stream "dropout".

        Returns:
            The steps, float32 `[B, T, D]`; their masked mean `[B, D]`; the valid steps, bool `[B, T]`.
        """
        waveform = audio.astype(jnp.float32) / 32768.0
        if self.normalize:
            waveform = normalize_waveform(waveform, mask)
        sequence, pooled = self.encoder(waveform, mask, deterministic)
        return sequence, pooled, self.encoder.config.steps.mask(mask)


class TextTower(nn.Module):
    """Encodes the transcript.

    Attributes:
        encoder: a text encoder.
    """

    encoder: nn.Module

    def __call__(self, tokens: jax.Array, mask: jax.Array, deterministic: bool = True) -> Encoded:
        """Encodes clips.

        Args:
            tokens: int `[B, L]`.
            mask: bool `[B, L]`, True = a token, False = padding.
            deterministic: False needs the rng stream "dropout".

        Returns:
            The tokens, float32 `[B, L, D]`; the pooled text `[B, D]`; the mask `[B, L]`.
        """
        sequence, pooled = self.encoder(tokens, mask, deterministic)
        return sequence, pooled, mask


class Towers(nn.Module):
    """The towers of a model; None for a modality without one."""

    vision: VisionTower | None = None
    audio: AudioTower | None = None
    text: TextTower | None = None

    def __call__(
        self, batch: Mapping[str, jax.Array], deterministic: bool = True, modalities: Sequence[str] | None = None
    ) -> dict[str, Encoded]:
        """Encodes a batch.

        Args:
            batch: for vision `frames` and `frame_mask`, for audio `audio` and `audio_mask`, for text `tokens` and
                `token_mask`, as the towers take them.
            deterministic: False needs the rng stream "dropout".
            modalities: those to encode; None = all that have a tower.

        Returns:
            For each modality the outputs of its tower: (sequence, clip, mask).
        """
        towers = {VISION: self.vision, AUDIO: self.audio, TEXT: self.text}
        if modalities is None:
            modalities = [name for name in MODALITIES if towers[name] is not None]
        encoded = {}
        for name in modalities:
            tower = towers[name]
            if tower is None:
                raise ValueError(f"there is no {name} tower; give Towers({name}=...)")
            inputs, mask = INPUTS[name]
            encoded[name] = tower(batch[inputs], batch[mask], deterministic)
        return encoded


def normalize_waveform(waveform: jax.Array, mask: jax.Array) -> jax.Array:
    """Zero mean and unit variance over the valid samples, zeros elsewhere: `transformers.Wav2Vec2FeatureExtractor`.

    Args:
        waveform: float32 `[B, S]`.
        mask: bool `[B, S]`, True = a sample.
    """
    weight = mask.astype(jnp.float32)
    count = jnp.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    centred = (waveform - (waveform * weight).sum(axis=1, keepdims=True) / count) * weight
    variance = jnp.square(centred).sum(axis=1, keepdims=True) / count
    return centred * jax.lax.rsqrt(variance + 1e-7)
