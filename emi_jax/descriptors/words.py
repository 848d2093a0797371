"""Descriptors of words: hashed words and character n-grams, and the values of a sentiment lexicon."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from emi_jax.descriptors.config import DescriptorsConfig
from emi_jax.descriptors.lexicon import normalise, read_lexicon


@dataclasses.dataclass(frozen=True)
class WordDescriptorsConfig(DescriptorsConfig):
    """Which descriptors of words are computed, and how.

    Attributes:
        buckets: columns among which words and n-grams are spread by their hash.
        ngrams: shortest and longest character n-gram of a word between `<` and `>`, as in fastText.
        lexicon: path of a CSV file (see `read_lexicon`) whose values are added; none if empty.

    Raises:
        ValueError: a field is of another type or out of range.
    """

    model_type: ClassVar[str] = "word_descriptors"
    buckets: int = 256
    ngrams: tuple[int, int] = (3, 5)
    lexicon: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("buckets", 1 <= self.buckets <= 2**20, "1 to 1048576")
        self.require("ngrams", 1 <= self.ngrams[0] <= self.ngrams[1] <= 16, "two lengths in order, from 1 to 16")

    @property
    def hidden_size(self) -> int:
        """Number of columns, D; reads the header of the lexicon, if there is one, and raises UserError as it does."""
        return self.buckets + (len(read_lexicon(self.lexicon).columns) + 1 if self.lexicon else 0)


def describe_words(config: WordDescriptorsConfig, words: Sequence[str]) -> np.ndarray:
    """Computes descriptors of words by signed feature hashing (Weinberger et al., 2009).

    Each normalised word, and each of its character n-grams (Bojanowski et al., 2017), adds 1 or -1 to one column; the
    sum is scaled to length 1. A lexicon adds columns: the word's values, and 1 for the words that it holds.

    Args:
        config: which, and how.
        words: L words as they are written.

    Returns:
        float32 [L, D]; zeros for an empty word.

    Raises:
        UserError: the lexicon cannot be read.
    """
    described = np.zeros((len(words), config.hidden_size), np.float32)
    lexicon = read_lexicon(config.lexicon) if config.lexicon else None
    for row, word in zip(described, map(normalise, words), strict=True):
        for piece in _pieces(word, config.ngrams):
            code = int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=8).digest(), "little")
            row[(code >> 1) % config.buckets] += 1 if code & 1 else -1
        row /= np.linalg.norm(row) or 1
        if lexicon and word in lexicon.values:
            row[config.buckets :] = [*lexicon.values[word], 1]
    return described


def _pieces(word: str, ngrams: tuple[int, int]) -> Iterator[str]:
    """The word between `<` and `>` and its n-grams; an n-gram is never the whole."""
    if not word:
        return
    whole = f"<{word}>"
    yield whole
    for length in range(ngrams[0], min(ngrams[1], len(whole) - 1) + 1):
        yield from (whole[start : start + length] for start in range(len(whole) - length + 1))
