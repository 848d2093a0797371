"""Towers: from the raw arrays of a batch to states of each step and a vector of each clip.

What is learned about reading a tower out lies outside of it, in `emi_jax/models/readout.py`.
"""

import contextlib
from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION
from emi_jax.models.lora import Lora
from emi_jax.models.pooling import ATTENTION, CLASS, MEAN, masked_mean
from emi_jax.models.readout import LAST, choose

Encoded = tuple[jax.Array, jax.Array, jax.Array]
Layers = str | tuple[int, ...]
"""`LAST`, `MIX`, or the numbers of the hidden states that are mixed."""

# The arrays of a batch that each tower reads.
INPUTS = {VISION: ("frames", "frame_mask"), AUDIO: ("audio", "audio_mask"), TEXT: ("tokens", "token_mask")}


class VisionTower(nn.Module):
    """Encodes each frame separately.

    Attributes:
        encoder: an image encoder.
        image_mean: mean of each channel of pixels in [0, 1] that the encoder was trained with.
        image_std: their standard deviation.
        layers: the hidden states that are read.
        pooling: how the patches of a frame become one vector: `CLASS`, the class token, through the pooler where there
            is one and the last layer is read; `MEAN`; or `ATTENTION`, for which all patches are returned.
    """

    encoder: nn.Module
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    layers: Layers = LAST
    pooling: str = CLASS

    def __call__(self, frames: jax.Array, mask: jax.Array, deterministic: bool = True) -> Encoded:
        """Encodes clips.

        Args:
            frames: uint8 `[B, N, H, W, 3]`, RGB.
            mask: bool `[B, N]`, True = a frame with a face.
            deterministic: False needs the rng stream "dropout".

        Returns:
            The states of each frame, float32 `[B, N, (P,) (n,) D]`, with all P patches for `ATTENTION` and n layers
            unless the last is read; their masked mean over frames; the mask `[B, N]`.
        """
        B, N, *image = frames.shape
        mean, std = (jnp.asarray(x, jnp.float32).reshape(1, 1, 1, 3) for x in (self.image_mean, self.image_std))
        pixels = (frames.reshape(B * N, *image).astype(jnp.float32) / 255.0 - mean) / std
        patches, token, *hidden = self.encoder(pixels, None, deterministic, self.layers != LAST)
        if hidden:
            states = choose(hidden[0], self.layers)
            tokens = states.shape[1] - patches.shape[1]
            if self.pooling == CLASS and not tokens:
                raise ValueError("the vision encoder has no class token: use pooling = 'mean' or 'attention'")
            patches, token = states[:, tokens:], states[:, 0]
        images = patches if self.pooling == ATTENTION else token if self.pooling == CLASS else patches.mean(axis=1)
        states = images.reshape(B, N, *images.shape[1:])
        return states, _over_steps(states, mask), mask


class AudioTower(nn.Module):
    """Encodes the voice.

    Attributes:
        encoder: an audio encoder, whose config says which samples its `steps` hear.
        normalize: whether the encoder was trained on clips of zero mean and unit variance.
        layers: the hidden states that are read.
        pooling: how steps become the clip's vector: `MEAN`, or `ATTENTION` in its readout.
    """

    encoder: nn.Module
    normalize: bool
    layers: Layers = LAST
    pooling: str = MEAN

    def __call__(self, audio: jax.Array, mask: jax.Array, deterministic: bool = True) -> Encoded:
        """Encodes clips.

        Args:
            audio: int16 `[B, S]` at 16 kHz.
            mask: bool `[B, S]`, True = a sample, False = padding.
            deterministic: False needs the rng stream "dropout".

        Returns:
            The states of each step, float32 `[B, T, (n,) D]`, with n layers unless the last is read; their masked mean;
            the valid steps, bool `[B, T]`.
        """
        waveform = audio.astype(jnp.float32) / 32768.0
        if self.normalize:
            waveform = normalize_waveform(waveform, mask)
        states, pooled, *hidden = self.encoder(waveform, mask, deterministic, self.layers != LAST)
        steps = self.encoder.config.steps.mask(mask)
        if hidden:
            states = choose(hidden[0], self.layers)
            pooled = _over_steps(states, steps)
        return states, pooled, steps


class TextTower(nn.Module):
    """Encodes the transcript.

    Attributes:
        encoder: a text encoder.
        layers: the hidden states that are read.
        pooling: how tokens become the clip's vector: `CLASS`, the encoder's own, of its last layer alone; `MEAN`; or
            `ATTENTION` in its readout.
    """

    encoder: nn.Module
    layers: Layers = LAST
    pooling: str = CLASS

    def __call__(self, tokens: jax.Array, mask: jax.Array, deterministic: bool = True) -> Encoded:
        """Encodes clips.

        Args:
            tokens: int `[B, L]`.
            mask: bool `[B, L]`, True = a token, False = padding.
            deterministic: False needs the rng stream "dropout".

        Returns:
            The states of each token, float32 `[B, L, (n,) D]`, with n layers unless the last is read; the pooled text;
            the mask `[B, L]`.
        """
        states, pooled, *hidden = self.encoder(tokens, mask, deterministic, self.layers != LAST)
        if hidden:
            states = choose(hidden[0], self.layers)
        return states, pooled if self.pooling == CLASS else _over_steps(states, mask), mask


class Towers(nn.Module):
    """The towers of a model; None for a modality without one.

    Attributes:
        vision: of frames.
        audio: of the voice.
        text: of the transcript.
        lora: updates of low rank of their linear layers.
    """

    vision: VisionTower | None = None
    audio: AudioTower | None = None
    text: TextTower | None = None
    lora: Lora | None = None

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
            For each modality the outputs of its tower: (states, clip, mask).
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
            with self.lora.around(self, deterministic) if self.lora else contextlib.nullcontext():
                encoded[name] = tower(batch[inputs], batch[mask], deterministic)
        return encoded


def _over_steps(states: jax.Array, mask: jax.Array) -> jax.Array:
    """The masked mean over the steps of states `[B, T, ...]`."""
    B, T, *shape = states.shape
    return masked_mean(states.reshape(B, T, -1), mask).reshape(B, *shape)


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
