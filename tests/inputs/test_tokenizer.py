"""The tokenizer that is trained on transcripts copes with any script."""

import unicodedata

import pytest

from emi_jax.inputs.tokenizer import train_wordpiece

TEXTS = {
    "Japanese": "とても面白いです、本当に",
    "Chinese": "这个很有趣，我非常喜欢它",
    "Arabic": "هذا مُضحك جدا يا صديقي",
    "Persian": "می‌خواهم بدانم",
    "Korean": "이것은 정말 재미있습니다",
    "Hindi": "यह बहुत मज़ेदार है",
    "Thai": "สวัสดีครับ",
    "Russian": "Это очень смешно",
    "Vietnamese": "Tôi rất vui",
    "emoji": "so funny 😂",
}


def tokens(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])[1:-1]


@pytest.mark.parametrize("script", TEXTS)
def test_every_script_is_known_and_keeps_its_signs(script):
    tokenizer = train_wordpiece(TEXTS.values(), 600)
    for form in ("NFC", "NFD"):
        pieces = tokens(tokenizer, unicodedata.normalize(form, TEXTS[script]))
        assert tokenizer.unk_token not in pieces
        spoken = "".join(piece.removeprefix("##") for piece in pieces)
        assert spoken == "".join(unicodedata.normalize("NFC", TEXTS[script]).lower().replace("\u200c", "").split())


@pytest.mark.parametrize("pair", [("です", "てす"), ("что", "чтó"), ("มา", "ม้า"), ("má", "mà")])
def test_words_that_differ_by_a_mark_are_different(pair):
    tokenizer = train_wordpiece([*pair, *pair], 100)
    assert tokens(tokenizer, pair[0]) != tokens(tokenizer, pair[1])


def test_a_script_of_many_characters_leaves_room_for_its_most_frequent_ones():
    rare = "".join(chr(0x4E00 + number) for number in range(500))
    tokenizer = train_wordpiece([rare, *["很好 funny words"] * 5], 200)
    assert tokens(tokenizer, "很好 funny words") == ["很", "好", "funny", "words"]
    assert len(tokenizer) <= 200
