"""Turns an example of the dataset into the arrays of one place in a batch."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any, Protocol

import cv2
import numpy as np

from emi_jax.errors import UserError
from emi_jax.inputs import corruption
from emi_jax.inputs.dataset import Example, clip_id, normalise, transcript
from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION

Arrays = dict[str, np.ndarray]
MASKS = {VISION: "frame_mask", AUDIO: "audio_mask", TEXT: "token_mask"}
"""Name of each modality's mask of valid steps in a batch."""
PARTS = (0.25, 0.5, 0.75, 1.0)
"""The fractions of its steps to which `without_common_padding` cuts a modality; few, as each shape is compiled."""
KEPT_TEXTS = 2**15
"""Number of transcripts whose tokens are cached, about a kilobyte each."""


@dataclasses.dataclass(frozen=True)
class InputShape:
    """The fixed shapes of a batch.

    Attributes:
        num_labels: K.
        modalities: the modalities to read; the arrays of the others are left out of the batch.
        num_frames: N, frames per clip.
        image_size: side of a frame in pixels.
        num_samples: S, samples per clip at 16 kHz.
        num_tokens: L, tokens per clip.
    """

    num_labels: int
    modalities: tuple[str, ...]
    num_frames: int
    image_size: int
    num_samples: int
    num_tokens: int


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
        tokenizer: a Hugging Face tokenizer, called with `return_tensors="np"`.
        augment: whether to augment, for training: random frames, crop, flip and stretch of audio.
        smallest_crop: smallest side of a training crop, as a fraction of the face picture's side; 1 disables cropping.
        corrupt: probability that a modality is deliberately corrupted (`emi_jax.inputs.corruption`).
        find_silence: whether to exclude silent samples from the quality supervision of stage 2.
    """

    shape: InputShape
    tokenizer: Any
    augment: bool = False
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
        labels = np.asarray(example["labels"], np.float32)
        arrays: Arrays = {
            "clip": np.asarray(index, np.int32),
            "valid": np.asarray(True),
            "labels": np.nan_to_num(labels),
            "label_mask": np.isfinite(labels),
            "transcript": np.asarray(_transcript_key(transcript(example)), np.int32),
        }
        readers = {VISION: self._vision, AUDIO: self._audio, TEXT: self._text}
        for modality in self.shape.modalities:
            arrays |= readers[modality](example, rng)
        arrays["present"] = np.array([bool(np.any(arrays.get(MASKS[modality], False))) for modality in MODALITIES])
        return arrays

    @functools.cached_property
    def padding(self) -> Arrays:
        """The arrays of an unused place in a batch: nothing is present, known or valid."""
        empty = {
            "id": b"",
            "faces": [],
            "face_found": np.zeros(0, bool),
            "audio": np.zeros(0, np.int16),
            "transcript": b"",
            "labels": np.full(self.shape.num_labels, np.nan, np.float32),
        }
        arrays = dataclasses.replace(self, augment=False, corrupt=0.0)(empty, np.random.default_rng(0), -1)
        return arrays | {"valid": np.asarray(False)}

    def _draws_corruption(self, rng: np.random.Generator, mask: np.ndarray) -> bool:
        return bool(mask.any() and rng.random() < self.corrupt)

    def _vision(self, example: Example, rng: np.random.Generator) -> Arrays:
        size, found = self.shape.image_size, np.asarray(example["face_found"])
        frames = np.zeros((self.shape.num_frames, size, size, 3), np.uint8)
        mask = np.zeros(self.shape.num_frames, bool)
        picks = pick_frames(found, self.shape.num_frames, rng if self.augment else None)
        mask[: len(picks)] = found[picks]
        crop, flip = (
            (_crop(rng, self.smallest_crop), bool(rng.random() < 0.5)) if self.augment else ((0.0, 0.0, 1.0), False)
        )
        for place in np.flatnonzero(mask):
            frames[place] = _picture(example, picks[place], size, crop, flip)
        clean = np.ones(len(mask), bool)
        if self._draws_corruption(rng, mask):
            frames, clean = corruption.corrupt_faces(rng, frames, mask)
        return {"frames": frames, "frame_mask": mask, "frame_clean": clean, "frame_supervised": mask}

    def _audio(self, example: Example, rng: np.random.Generator) -> Arrays:
        samples, length = np.asarray(example["audio"], np.int16), self.shape.num_samples
        spare = max(0, len(samples) - length)
        start = int(rng.integers(0, spare + 1)) if self.augment else 0
        taken = samples[start : start + length]
        audio, mask = np.zeros(length, np.int16), np.arange(length) < len(taken)
        audio[: len(taken)] = taken
        clean, supervised = np.ones(length, bool), corruption.audible(audio, mask) if self.find_silence else mask
        if self._draws_corruption(rng, mask):
            audio, clean = corruption.corrupt_voice(rng, audio, mask)
        return {"audio": audio, "audio_mask": mask, "audio_clean": clean, "audio_supervised": supervised}

    def _text(self, example: Example, rng: np.random.Generator) -> Arrays:
        tokens, mask, words = self._encode(transcript(example))
        clean = np.ones(len(mask), bool)
        if self._draws_corruption(rng, words):
            tokens, clean = corruption.corrupt_words(rng, tokens, words, self.mask_token)
        mask = mask & words.any()  # in an empty transcript not even the special tokens are valid
        return {"tokens": tokens, "token_mask": mask, "token_clean": clean, "token_supervised": words}

    @functools.cached_property
    def _encode(self) -> Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """A function from a text to its tokens int32 [L], and masks bool [L] of the valid ones and of the words.

        Results are cached across epochs: tokenizing takes as long as decoding the pictures of a clip.
        """

        @functools.lru_cache(KEPT_TEXTS)
        def encode(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            encoded = self.tokenizer(
                text,
                max_length=self.shape.num_tokens,
                padding="max_length",
                truncation=True,
                return_special_tokens_mask=True,
                return_tensors="np",
            )
            mask = encoded["attention_mask"][0].astype(bool)
            words = mask & ~encoded["special_tokens_mask"][0].astype(bool)
            return encoded["input_ids"][0].astype(np.int32), mask, words

        return encode

    @property
    def mask_token(self) -> int:
        """The token that replaces a masked word."""
        for token in (self.tokenizer.mask_token_id, self.tokenizer.unk_token_id):
            if token is not None:
                return token
        raise UserError(
            "the tokenizer has neither a mask token nor an unknown token: words cannot be masked in training"
        )


def without_common_padding(batch: Arrays, min_samples: int) -> Arrays:
    """Cuts padding shared by all clips: each modality keeps the smallest of `PARTS` that holds its valid steps.

    Args:
        batch: arrays `[B, ...]` from `ClipTransform`; the steps of a modality are their second axis.
        min_samples: minimum number of audio samples to keep; at least one frame and one token are kept.
    """
    cut = dict(batch)
    for modality, mask in MASKS.items():
        if mask not in batch:
            continue
        used: np.ndarray = np.any(batch[mask], axis=0)
        needed = len(used) - int(np.argmax(used[::-1])) if used.any() else 0
        fewest = min_samples if modality == AUDIO else 1
        sizes = [fewest, *(max(fewest, math.ceil(part * len(used))) for part in PARTS)]
        kept = next(size for size in sizes if size >= needed)
        prefix = mask.removesuffix("_mask")
        cut |= {name: array[:, :kept] for name, array in batch.items() if name.startswith(prefix)}
    return cut


def pick_frames(found: np.ndarray, places: int, rng: np.random.Generator | None) -> np.ndarray:
    """Chooses which pictures of a clip to read: spread over all, or, if those have no face, over those that have one.

    Args:
        found: bool, for each picture whether a face was found in it.
        places: the maximum number of pictures to read.
        rng: draws the pictures; None takes the middles of equal parts.
    """
    picks = spread(len(found), places, rng)
    if found[picks].any():
        return picks
    faces = np.flatnonzero(found)
    return faces[spread(len(faces), places, rng)] if faces.size else picks


def spread(count: int, places: int, rng: np.random.Generator | None) -> np.ndarray:
    """Indices of at most `places` of `count` items, one from each of equal parts: its middle, or a random one."""
    if count <= places:
        return np.arange(count)
    offsets = 0.5 if rng is None else rng.random(places)
    return np.floor((np.arange(places) + offsets) * count / places).astype(int)


def _crop(rng: np.random.Generator, smallest: float) -> tuple[float, float, float]:
    """A square (top, left, side), in fractions of the picture's side."""
    side = rng.uniform(smallest, 1.0)
    top, left = rng.uniform(0.0, 1.0 - side, 2)
    return top, left, side


def _picture(example: Example, index: int, size: int, crop: tuple[float, float, float], flip: bool) -> np.ndarray:
    encoded = np.frombuffer(example["faces"][index], np.uint8)
    picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise UserError(
            f"clip {clip_id(example)!r}: face picture {index} is no readable JPEG; find all such clips with: "
            "python -m data_prep --check DIR"
        )
    height, width = picture.shape[:2]
    top, left, side = crop
    rows = slice(round(top * height), round((top + side) * height))
    columns = slice(round(left * width), round((left + side) * width))
    picture = cv2.resize(picture[rows, columns], (size, size), interpolation=cv2.INTER_AREA)
    return picture[:, ::-1] if flip else picture


def _transcript_key(text: str) -> int:
    """An int32 hash of the normalised transcript; two different transcripts collide with probability 2**-32."""
    digest = hashlib.blake2s(normalise(text).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little", signed=True)
