"""Tokenizers: loaded from a Hugging Face folder, or a WordPiece vocabulary trained on transcripts."""

import collections
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from emi_jax.errors import UserError

if TYPE_CHECKING:  # imported on use: if torch is installed, this import takes a second
    import transformers

PAD, UNKNOWN, START, END, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def load_tokenizer(folder: Path) -> "transformers.PreTrainedTokenizerBase":
    """The tokenizer of a local Hugging Face folder; no code from the folder is executed.

    Raises:
        UserError: the folder has no tokenizer, or one that needs custom code.
    """
    import transformers

    try:
        return transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"no tokenizer in {folder}: {reason}; expected tokenizer.json (or vocab.txt) next to the weights"
        ) from error


def train_wordpiece(transcripts: Iterable[str], vocab_size: int) -> "transformers.PreTrainedTokenizerBase":
    """A lower-casing WordPiece tokenizer in BERT's format: the most frequent words, and characters for all others.

    Accents are kept: in many scripts they are vowels or distinguish consonants. Only the most frequent characters are
    kept, at most a quarter of the vocabulary. The trainer of the tokenizers library breaks ties by a random hash,
    whereas this vocabulary depends only on the text.
    """
    import transformers

    normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.BertNormalizer(lowercase=True, strip_accents=False)]
    )
    splitter = pre_tokenizers.BertPreTokenizer()
    words = collections.Counter(
        word for text in transcripts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))
    )
    counts: collections.Counter[str] = collections.Counter()
    for word, count in words.items():
        counts.update(dict.fromkeys(word, count))
    characters = sorted(sorted(counts, key=lambda character: (-counts[character], character))[: vocab_size // 4])
    by_frequency = sorted(words, key=lambda word: (-words[word], word))
    pieces = [*SPECIAL, *characters, *(f"##{character}" for character in characters), *by_frequency]
    vocabulary = {piece: index for index, piece in enumerate(list(dict.fromkeys(pieces))[:vocab_size])}

    wordpiece = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    wordpiece.normalizer, wordpiece.pre_tokenizer = normalizer, splitter
    wordpiece.decoder = decoders.WordPiece()
    wordpiece.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(token, vocabulary[token]) for token in (START, END)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=wordpiece, pad_token=PAD, unk_token=UNKNOWN, cls_token=START, sep_token=END, mask_token=MASK
    )
