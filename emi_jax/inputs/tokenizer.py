"""Tokenizers: loaded from a Hugging Face folder, or a WordPiece vocabulary trained on transcripts."""

import collections
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from emi_jax.errors import UserError

if TYPE_CHECKING:  # imported on use: if torch is installed, this import takes a second
    import transformers

PAD, UNKNOWN, START, END, MASK = SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

USUAL = {
    "pad_token": (PAD, "<pad>"),
    "unk_token": (UNKNOWN, "<unk>"),
    "cls_token": (START, "<s>"),
    "sep_token": (END, "</s>"),
    "mask_token": (MASK, "<mask>"),
}
"""What special tokens are called in vocabularies of BERT's and of RoBERTa's kind."""
VOCABULARIES = ("vocab.txt", "vocab.json")
"""Files of tokenizers older than tokenizer.json; the second has merges.txt next to it."""

log = logging.getLogger(__name__)


def load_tokenizer(folder: Path) -> "transformers.PreTrainedTokenizerBase":
    """The tokenizer of a local Hugging Face folder: tokenizer.json as it is, or made of an older vocabulary.

    No code from the folder is executed, and none that it names is downloaded. Special tokens that
    tokenizer_config.json does not declare are looked for under their usual names.

    Raises:
        UserError: the folder has no tokenizer, one that needs custom code, or one without a padding token.
    """
    import transformers

    options = {"trust_remote_code": False, "local_files_only": True}
    if (folder / "tokenizer.json").is_file():
        load: Any = transformers.PreTrainedTokenizerFast
    elif any((folder / name).is_file() for name in VOCABULARIES):
        load = transformers.AutoTokenizer
    else:
        raise UserError(
            f"no tokenizer in {folder}: expected tokenizer.json (or vocab.txt) next to the weights. If the original "
            'has a SentencePiece model alone (*.model), convert that where sentencepiece is installed: python -c "from '
            f"transformers import AutoTokenizer; AutoTokenizer.from_pretrained('ID').save_pretrained('{folder}')\""
        )
    try:
        tokenizer = load.from_pretrained(str(folder), **options)
    except Exception as error:  # the tokenizers library raises Exception itself
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"no tokenizer in {folder}: its files cannot be read ({reason}); copy them again") from error
    if tokenizer.init_kwargs.get("auto_map"):
        raise UserError(f"no tokenizer in {folder}: tokenizer_config.json names custom code, which is never executed")
    _complete(tokenizer, folder)
    return tokenizer


def _complete(tokenizer: "transformers.PreTrainedTokenizerBase", folder: Path) -> None:
    """Declares special tokens that are in the vocabulary under their usual names and not declared yet."""
    vocabulary, found = tokenizer.get_vocab(), {}
    for role, names in USUAL.items():
        if getattr(tokenizer, role) is None and (present := [name for name in names if name in vocabulary]):
            found[role] = present[0]
            setattr(tokenizer, role, present[0])
    if found:
        log.info("%s: special tokens by their usual names: %s", folder, ", ".join(map(" ".join, found.items())))
    if tokenizer.pad_token is None:
        raise UserError(f"{folder}: the tokenizer has no padding token; add pad_token to tokenizer_config.json")


def check_tokenizer(tokenizer: "transformers.PreTrainedTokenizerBase", config: Any, folder: Path) -> None:
    """Checks that a tokenizer is one for a text encoder's config.

    Raises:
        UserError: ids beyond the encoder's vocabulary, or, where positions depend on it, another id of padding.
    """
    largest = max(tokenizer.get_vocab().values())
    if largest >= config.vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has ids up to {largest}, but the encoder's vocab_size is {config.vocab_size}; "
            "use the tokenizer that belongs to the weights"
        )
    padding = getattr(config, "padding_id", None)
    if padding is not None and tokenizer.pad_token_id != padding:
        raise UserError(
            f"{folder}: the tokenizer pads with id {tokenizer.pad_token_id}, but config.json has pad_token_id = "
            f"{padding}, from which positions count; use the tokenizer that belongs to the weights"
        )


def special_ids(tokenizer: "transformers.PreTrainedTokenizerBase") -> dict[str, int]:
    """The fields of an encoder's config that are a tokenizer's special ids, by BERT's roles."""
    ids = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.cls_token_id,
        "eos_token_id": tokenizer.sep_token_id,
    }
    return {name: number for name, number in ids.items() if isinstance(number, int)}


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
