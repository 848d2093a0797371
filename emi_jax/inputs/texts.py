"""From a transcript to fixed-length arrays of tokens, and the times at which they are spoken."""

import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from emi_jax.errors import UserError

if TYPE_CHECKING:
    import transformers

KEPT_TEXTS = 2**15
"""Number of transcripts whose tokens are cached, about a kilobyte each."""
SECONDS_PER_WORD = 0.4
"""Length of a word where nothing says how long the clip is."""


class Tokens(NamedTuple):
    """The tokens of a transcript, padded or cut to L.

    Attributes:
        tokens: [L], what the text encoder reads: int32 ids, or the words themselves.
        mask: bool [L], tokens that are not padding.
        words: bool [L], tokens that are words, neither padding nor special.
        places: int [L], which whitespace-separated word of the transcript a token belongs to; -1 for none.
    """

    tokens: np.ndarray
    mask: np.ndarray
    words: np.ndarray
    places: np.ndarray


class TextReader(Protocol):
    """Reads transcripts for a text encoder."""

    def __call__(self, text: str, /) -> Tokens:
        """The tokens of a transcript."""

    def count_cut(self, texts: Sequence[str], /) -> int:
        """The number of transcripts that have more tokens than are read."""

    @property
    def mask_token(self) -> int | str:
        """The token that replaces a masked word."""

    def names(self, tokens: np.ndarray, /) -> list[str]:
        """The tokens as text."""


class Subwords:
    """Reads transcripts with a Hugging Face tokenizer.

    Results are cached across epochs: tokenizing takes as long as decoding the pictures of a clip.
    """

    def __init__(self, tokenizer: "transformers.PreTrainedTokenizerBase", length: int):
        """Reads at most `length` tokens of each transcript, special tokens included."""
        self._tokenizer, self._length = tokenizer, length
        self._encode = functools.lru_cache(KEPT_TEXTS)(self._read)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        """Copied to another process, as a worker of PyTorch's DataLoader, without the texts that it keeps."""
        return Subwords, (self._tokenizer, self._length)

    def __call__(self, text: str) -> Tokens:
        """The tokens of a transcript."""
        return self._encode(text)

    def count_cut(self, texts: Sequence[str]) -> int:
        """The number of transcripts that have more tokens than are read."""
        tokens = self._tokenizer(list(texts), verbose=False)["input_ids"] if texts else []
        return sum(len(one) > self._length for one in tokens)

    @property
    def mask_token(self) -> int:
        """The token that replaces a masked word: never the end token, at which CLIP reads the whole text.

        CLIP's tokenizer has no mask token, and its unknown token is the end token.
        """
        read = self._tokenizer
        for token in (read.mask_token_id, read.unk_token_id, read.bos_token_id):
            if token is not None and token != read.eos_token_id:
                return token
        raise UserError(
            "the tokenizer has no mask token, and no unknown or start token that differs from its end token: words "
            "cannot be masked in training"
        )

    def names(self, tokens: np.ndarray) -> list[str]:
        """The tokens as text."""
        return list(self._tokenizer.convert_ids_to_tokens(tokens.tolist()))

    def _read(self, text: str) -> Tokens:
        encoded = self._tokenizer(
            text,
            max_length=self._length,
            padding="max_length",
            truncation=True,
            return_special_tokens_mask=True,
            return_offsets_mapping=self._tokenizer.is_fast,
            return_tensors="np",
        )
        mask = encoded["attention_mask"][0].astype(bool)
        words = mask & ~encoded["special_tokens_mask"][0].astype(bool)
        places = np.full(len(mask), -1)
        if self._tokenizer.is_fast:
            ends = encoded["offset_mapping"][0][:, 1]
            # A space that a byte-level tokenizer puts before the text ends at 0: it belongs to the first word.
            places[words] = _word_of_each_character(text)[np.maximum(ends[words] - 1, 0)]
        else:  # such a tokenizer does not say where its tokens come from: they are spread evenly over the words
            places[words] = np.arange(words.sum()) * len(text.split()) // max(int(words.sum()), 1)
        return Tokens(encoded["input_ids"][0].astype(np.int32), mask, words, places)


class Words:
    """Reads the words of transcripts as they are, for an encoder that has no vocabulary."""

    mask_token = ""

    def __init__(self, length: int):
        """Reads at most `length` words of each transcript."""
        self._length = length

    def __call__(self, text: str) -> Tokens:
        """The words of a transcript, as strings."""
        words = text.split()[: self._length]
        tokens = np.array(words + [""] * (self._length - len(words)), np.str_)
        mask = np.arange(self._length) < len(words)
        return Tokens(tokens, mask, mask, np.where(mask, np.arange(self._length), -1))

    def count_cut(self, texts: Sequence[str]) -> int:
        """The number of transcripts that have more words than are read."""
        return sum(len(text.split()) > self._length for text in texts)

    def names(self, tokens: np.ndarray) -> list[str]:
        """The words themselves."""
        return tokens.tolist()


def token_times(
    read: Tokens, count: int, word_times: Sequence[Sequence[float]] | np.ndarray, seconds: float
) -> np.ndarray:
    """The time of each token: the middle of its word.

    Special tokens before the words are at 0, those after them at the end of the clip. Where the times of the words are
    unknown, the words are spread evenly over the clip.

    Args:
        read: the tokens of a transcript.
        count: W, number of whitespace-separated words in the transcript.
        word_times: start and end of each word in seconds, [W, 2]; empty where unknown.
        seconds: length of the clip; 0 where unknown.

    Returns:
        Seconds, float32 [L]; 0 for padding.
    """
    seconds = seconds or SECONDS_PER_WORD * count
    known = np.asarray(word_times, np.float32).reshape(-1, 2)
    middles = known.mean(axis=1) if len(known) else (np.arange(count) + 0.5) * seconds / max(count, 1)
    times = np.zeros(len(read.mask), np.float32)
    inside = read.places >= 0
    times[inside] = middles[read.places[inside]]
    last = np.flatnonzero(inside)[-1] if inside.any() else len(inside)
    times[read.mask & ~inside & (np.arange(len(inside)) > last)] = seconds
    return times


def _word_of_each_character(text: str) -> np.ndarray:
    """For each character the number of its whitespace-separated word; spaces belong to the word after them, if any."""
    places, start = np.zeros(len(text) + 1, int), 0
    for number, word in enumerate(re.finditer(r"\S+", text)):
        places[start:] = number
        start = word.end()
    return places
