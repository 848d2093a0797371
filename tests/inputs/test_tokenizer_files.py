"""Tokenizers of Hugging Face folders, of every kind of vocabulary, compared with the tokenizers library itself."""

import json

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from emi_jax.encoders.registry import build_encoder
from emi_jax.errors import UserError
from emi_jax.inputs.texts import Subwords
from emi_jax.inputs.tokenizer import check_tokenizer, load_tokenizer, special_ids, train_wordpiece

TEXTS = ["she laughed until she cried", "the train leaves at nine", "Très drôle, naïve café", "hello world"]
ROBERTA, BERT = ["<s>", "<pad>", "</s>", "<unk>"], ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def byte_pairs():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [*ROBERTA, "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def unigrams():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=ROBERTA, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def word_pieces():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=80, special_tokens=BERT, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


DECLARED = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
XLM = {"tokenizer_class": "XLMRobertaTokenizer", **DECLARED}


@pytest.mark.parametrize(
    ("make", "model_type", "config"),
    [
        (byte_pairs, "roberta", None),
        (byte_pairs, "modernbert", {"tokenizer_class": "PreTrainedTokenizerFast", **DECLARED}),
        (unigrams, "xlm-roberta", XLM),
        (unigrams, "new", XLM),
        (unigrams, "xlm-roberta", {}),
        (word_pieces, "new", {"tokenizer_class": "BertTokenizer"}),
        (word_pieces, "gte", {}),
        (word_pieces, "distilbert", None),
    ],
)
def test_tokenizer_json_is_used_as_it_is(make, model_type, config, tmp_path):
    """A tokenizer class of transformers would replace parts of it, such as the normalizer, by parts of its own."""
    original = make()
    original.save(str(tmp_path / "tokenizer.json"))
    remote = {"auto_map": {"AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel"}} if model_type == "new" else {}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, **remote}))
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    loaded = load_tokenizer(tmp_path)
    style = BERT if make is word_pieces else [*ROBERTA, "<mask>"]
    found = (loaded.pad_token, loaded.unk_token, loaded.cls_token, loaded.sep_token, loaded.mask_token)
    assert found == ((style[0], style[1], *style[2:]) if style is BERT else ("<pad>", "<unk>", "<s>", "</s>", "<mask>"))
    for text in ("She laughed, NAÏVE café", f"hello {loaded.mask_token} World", ""):
        assert loaded(text)["input_ids"] == original.encode(text).ids
    read = Subwords(loaded, 16)("hello world")
    ids = original.encode("hello world").ids
    assert read.tokens.tolist() == ids + [original.token_to_id(loaded.pad_token)] * (16 - len(ids))
    assert read.mask.tolist() == [True] * len(ids) + [False] * (16 - len(ids))
    assert read.words.tolist() == [False, *[True] * (len(ids) - 2), *[False] * (17 - len(ids))]
    assert [read.places[1], read.places[len(ids) - 2]] == [0, 1]
    loaded.save_pretrained(tmp_path / "saved")
    saved = load_tokenizer(tmp_path / "saved")
    assert saved("hello")["input_ids"] == loaded("hello")["input_ids"]
    assert saved.pad_token_id == loaded.pad_token_id


def test_a_token_that_is_a_space_belongs_to_the_word_after_it(tmp_path):
    tokenizer = byte_pairs()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=True)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("Zoo hello").tokens[1] == "Ġ"
    assert tokenizer.encode("Zoo hello").offsets[1] == (0, 0)
    read = Subwords(load_tokenizer(tmp_path), 12)("Zoo hello")
    assert read.places.tolist() == [-1, 0, 0, 0, 0, 1, 1, *[-1] * 5]


def test_an_older_vocabulary_is_read_without_tokenizer_json(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "vocab.txt").write_text("\n".join([*BERT, "hello", "world"]))
    loaded = load_tokenizer(tmp_path)
    assert loaded("Hello world")["input_ids"] == [2, 5, 6, 3]
    assert loaded.pad_token_id == 0


def test_a_sentencepiece_model_alone_is_refused_with_the_way_to_convert_it(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "xlm-roberta"}))
    (tmp_path / "sentencepiece.bpe.model").write_bytes(b"\n\x0e")
    with pytest.raises(UserError, match=r"SentencePiece model alone \(\*\.model\), convert .*save_pretrained\('/"):
        load_tokenizer(tmp_path)


def test_damaged_and_unusable_tokenizers_are_one_line(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"its files cannot be read \(.*\); copy them again"):
        load_tokenizer(tmp_path)
    Tokenizer(models.WordLevel({"hello": 0}, unk_token="hello")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match="has no padding token; add pad_token to tokenizer_config"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "distilbert", "vocab_size": 5}, r"ids up to \d+, but the encoder's vocab_size is 5"),
        ({"model_type": "roberta", "pad_token_id": 1}, "pads with id 0, but config.json has pad_token_id = 1"),
    ],
)
def test_a_tokenizer_of_other_weights_is_refused(config, message, tmp_path):
    tokenizer = train_wordpiece(TEXTS, 60)
    with pytest.raises(UserError, match=message):
        check_tokenizer(tokenizer, build_encoder(config).config, tmp_path)
    fitting = {**config, "vocab_size": len(tokenizer), **special_ids(tokenizer)}
    check_tokenizer(tokenizer, build_encoder(fitting).config, tmp_path)
