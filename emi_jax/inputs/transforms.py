"""Turns an example of the dataset into the arrays of one place in a batch."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from emi_jax.inputs import corruption
from emi_jax.inputs.augmentation import Augmentation, independent_stream
from emi_jax.inputs.dataset import Example, normalise, seconds, transcript
from emi_jax.inputs.described import Arrays, Describer
from emi_jax.inputs.frames import at_rate, in_crop, pick_frames, random_crop, read_face, spread
from emi_jax.inputs.lengths import MASKS
from emi_jax.inputs.pieces import empty_example
from emi_jax.inputs.sampling import RENDITION, generator
from emi_jax.inputs.texts import TextReader, token_times
from emi_jax.modalities import MODALITIES, SAMPLE_RATE, STEPWISE, TEXT, VISION


@dataclasses.dataclass(frozen=True)
class InputShape:
    """The fixed shapes of a batch.

    Attributes:
        num_labels: K.
        modalities: the modalities to read; the arrays of the others are left out of the batch.
        num_frames: N, frames per clip.
        frame_rate: frames per second that are read, the nearest to equal distances; 0 for all. If they are more than
            N, as many of them as fit, spread over the clip.
        image_size: side of a frame in pixels.
        num_samples: S, samples per clip at 16 kHz.
        num_tokens: L, tokens per clip.
        num_steps: steps of a user's own features per clip.
    """

    num_labels: int
    modalities: tuple[str, ...]
    num_frames: int
    image_size: int
    num_samples: int
    num_tokens: int
    num_steps: int = 0
    frame_rate: float = 0.0


class Transform(Protocol):
    """Turns an example of any kind into the arrays of one place in a batch."""

    @property
    def padding(self) -> Arrays:
        """The arrays of an unused place in a batch: nothing is present, known or valid."""

    def __call__(self, example: Any, rng: np.random.Generator, index: int, /) -> Arrays:
        """The arrays of one clip, without the batch axis; `index` is its row in the split."""


@dataclasses.dataclass(frozen=True)
class ClipTransform:
    """Turns an example into the arrays of one place in a batch.

    Attributes:
        shape: the fixed shapes.
        reader: from a transcript to tokens; None without text.
        describers: compute the features of modalities without a tower, see `emi_jax.inputs.described`.
        own: width of the user's own features, by modality; they are read instead of pictures, sound or words.
        augment: whether to read at random, for training: which frames, which crop, flipped or not, which part of audio.
        augmentation: further changes of the voice and the face, for training; none by default.
        rendition: number of the copy in the feature cache that is made, if one is: a clip's augmentation is then a
            function of it and of the clip's row, so that its clean and its corrupted copy are augmented alike.
        smallest_crop: smallest side of a training crop, as a fraction of the face picture's side; 1 disables cropping.
        corrupt: probability that a modality is deliberately corrupted (`emi_jax.inputs.corruption`).
        find_silence: whether to exclude silent samples from the quality supervision of stage 2.
    """

    shape: InputShape
    reader: TextReader | None
    describers: Mapping[str, Describer] = dataclasses.field(default_factory=dict)
    own: Mapping[str, int] = dataclasses.field(default_factory=dict)
    augment: bool = False
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    rendition: int | None = None
    smallest_crop: float = 0.8
    corrupt: float = 0.0
    find_silence: bool = True

    def __call__(self, example: Example, rng: np.random.Generator, index: int) -> Arrays:
        """The arrays of one clip, without the batch axis.

        Args:
            example: as read from the dataset.
            rng: determines augmentation and corruption.
            index: the clip's row in its split.
        """
        return self.describe(self.read(example, rng, index))

    def read(self, example: Example, rng: np.random.Generator, index: int) -> Arrays:
        """Pictures, sound and words of one clip, as `__call__` takes them, before any is described by features."""
        labels = np.asarray(example["labels"], np.float32)
        arrays: Arrays = {
            "clip": np.asarray(index, np.int32),
            "valid": np.asarray(True),
            "labels": np.nan_to_num(labels),
            "label_mask": np.isfinite(labels),
            "transcript": np.asarray(_transcript_key(transcript(example)), np.int32),
        }
        copy = self.rendition
        augmenting = independent_stream(rng) if copy is None else generator(copy, RENDITION, index)
        for modality in self.shape.modalities:
            if modality in self.own:
                arrays |= self._own(modality, example, rng)
            elif modality == TEXT:
                arrays |= self._text(example, rng)
            else:
                arrays |= (self._vision if modality == VISION else self._audio)(example, rng, augmenting)
        masks = {
            modality: arrays.get(f"{modality}/mask", arrays.get(MASKS[modality], False)) for modality in MODALITIES
        }
        arrays["present"] = np.array([bool(np.any(mask)) for mask in masks.values()])
        return arrays

    @property
    def mask_token(self) -> int | str:
        """The token that replaces a masked word; only with text."""
        assert self.reader is not None
        return self.reader.mask_token

    def describe(self, arrays: Arrays) -> Arrays:
        """The model's inputs: a describer replaces the pictures, the sound or the words of its modality by features."""
        for describer in self.describers.values():
            arrays = describer(arrays)
        return {name: array for name, array in arrays.items() if name != "frame_picks"}

    @functools.cached_property
    def padding(self) -> Arrays:
        """The arrays of an unused place in a batch: nothing is present, known or valid."""
        empty = {**empty_example(), "labels": np.full(self.shape.num_labels, np.nan, np.float32)}
        for modality, width in self.own.items():
            empty |= {f"{modality}_features": np.zeros((0, width)), f"{modality}_feature_times": np.zeros(0)}
        plain = dataclasses.replace(self, augment=False, augmentation=Augmentation(), rendition=None, corrupt=0.0)
        arrays = plain(empty, np.random.default_rng(0), -1)
        return arrays | {"valid": np.asarray(False)}

    def _draws_corruption(self, rng: np.random.Generator, mask: np.ndarray) -> bool:
        return bool(mask.any() and rng.random() < self.corrupt)

    def _vision(self, example: Example, rng: np.random.Generator, augmenting: np.random.Generator) -> Arrays:
        size, times = self.shape.image_size, np.asarray(example["times"])
        rated = at_rate(times, self.shape.frame_rate)
        found = np.asarray(example["face_found"])[rated]
        frames = np.zeros((self.shape.num_frames, size, size, 3), np.uint8)
        mask = np.zeros(self.shape.num_frames, bool)
        picks = pick_frames(found, self.shape.num_frames, rng if self.augment else None)
        mask[: len(picks)], picks = found[picks], rated[picks]
        crop, flip = (0.0, 0.0, 1.0), False
        if self.augment:
            crop, flip = random_crop(rng, self.smallest_crop), bool(rng.random() < 0.5)
        change = self.augmentation.draw_face(augmenting)
        for place in np.flatnonzero(mask):
            frames[place] = change.apply(read_face(example, picks[place], size, crop, flip))
        seconds = np.zeros(len(mask), np.float32)
        seconds[: len(picks)] = times[picks]
        clean = np.ones(len(mask), bool)
        if self._draws_corruption(rng, mask):
            frames, clean = corruption.corrupt_faces(rng, frames, mask)
        arrays = {"frames": frames, "frame_mask": mask, "frame_clean": clean, "frame_supervised": mask}
        if VISION in self.describers:
            arrays["frame_landmarks"] = np.full((len(mask), 5, 2), np.nan, np.float32)
            landmarks = in_crop(np.asarray(example["landmarks"])[picks], crop, flip)
            arrays["frame_landmarks"][: len(picks)] = change.points(landmarks)
        kept = np.full(len(mask), -1)
        kept[: len(picks)] = picks
        return arrays | {"frame_times": seconds, "frame_picks": kept}

    def _audio(self, example: Example, rng: np.random.Generator, augmenting: np.random.Generator) -> Arrays:
        samples, length = np.asarray(example["audio"], np.int16), self.shape.num_samples
        change = self.augmentation.draw_voice(augmenting)
        spare = max(0, len(samples) - length)
        start = int(rng.integers(0, spare + 1)) if self.augment else 0
        taken, start = change.window(samples, start, length)
        taken = change.apply(taken, augmenting)[:length]
        audio, mask = np.zeros(length, np.int16), np.arange(length) < len(taken)
        audio[: len(taken)] = taken
        clean, supervised = np.ones(length, bool), corruption.audible(audio, mask) if self.find_silence else mask
        if change.noise:  # neither clean nor corrupted on purpose
            supervised = np.zeros(length, bool)
        if self._draws_corruption(rng, mask):
            audio, clean = corruption.corrupt_voice(rng, audio, mask)
        arrays = {"audio": audio, "audio_mask": mask, "audio_clean": clean, "audio_supervised": supervised}
        at = {"audio_start": start / SAMPLE_RATE, "audio_tempo": change.tempo}
        return arrays | {name: np.asarray(value, np.float32) for name, value in at.items()}

    def _text(self, example: Example, rng: np.random.Generator) -> Arrays:
        assert self.reader is not None  # whenever text is among the modalities
        text = transcript(example)
        read = self.reader(text)
        tokens, clean = read.tokens, np.ones(len(read.mask), bool)
        if self._draws_corruption(rng, read.words):
            tokens, clean = corruption.corrupt_words(rng, tokens, read.words, self.reader.mask_token)
        mask = read.mask & read.words.any()  # in an empty transcript not even the special tokens are valid
        arrays = {"tokens": tokens, "token_mask": mask, "token_clean": clean, "token_supervised": read.words}
        times = token_times(read, len(text.split()), example["word_times"], seconds(example))
        return arrays | {"token_times": times}

    def _own(self, modality: str, example: Example, rng: np.random.Generator) -> Arrays:
        """The steps of the user's own features: as many as fit, spread over the clip."""
        features, times = (np.asarray(example[f"{modality}_{part}"]) for part in ("features", "feature_times"))
        picks = spread(len(features), self.shape.num_steps, rng if self.augment else None)
        mask = np.arange(self.shape.num_steps) < len(picks)
        steps = np.zeros((len(mask), self.own[modality]), np.float32)
        steps[: len(picks)] = features[picks]
        clean = np.ones(len(mask), bool)
        if self._draws_corruption(rng, mask):
            steps, clean = corruption.corrupt_features(rng, steps, mask)
        at = np.zeros(len(mask), np.float32)
        at[: len(picks)] = times[picks]
        arrays = dict(zip(STEPWISE, (steps, mask, clean, mask, at), strict=True))
        return {f"{modality}/{part}": array for part, array in arrays.items()}


def _transcript_key(text: str) -> int:
    """An int32 hash of the normalised transcript; two different transcripts collide with probability 2**-32."""
    digest = hashlib.blake2s(normalise(text).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little", signed=True)
