"""The times of tokens: those of their words, or spread over the clip where the words have none."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.inputs.texts import Subwords, Words, token_times
from emi_jax.inputs.tokenizer import train_wordpiece

TEXT = "well, wonderful day"
TIMES = np.array([[0.2, 0.4], [1.0, 2.0], [2.0, 2.5]], np.float32)


@pytest.fixture(scope="module")
def tokenizer():
    return train_wordpiece(["well, wonder day well, day"] * 3, vocab_size=60)


def test_subwords_take_the_times_of_their_words(tokenizer):
    read = Subwords(tokenizer, 24)(TEXT)
    names = tokenizer.convert_ids_to_tokens(read.tokens.tolist())
    times = token_times(read, 3, TIMES, 4.0)
    middles = dict(zip(("well", "wonderful", "day"), TIMES.mean(axis=1), strict=True))
    assert names[:3] == ["[CLS]", "well", ","]
    np.testing.assert_allclose(times[:3], [0.0, middles["well"], middles["well"]])  # the comma belongs to its word
    end = names.index("[SEP]")
    np.testing.assert_allclose(times[3 : end - 1], middles["wonderful"])
    np.testing.assert_allclose(times[end - 1 : end + 1], [middles["day"], 4.0])
    assert not times[end + 1 :].any()


def test_words_without_times_are_spread_over_the_clip():
    read = Words(5)(TEXT)
    assert read.tokens.tolist() == ["well,", "wonderful", "day", "", ""]
    np.testing.assert_allclose(token_times(read, 3, np.zeros((0, 2)), 6.0), [1, 3, 5, 0, 0])
    np.testing.assert_allclose(token_times(read, 3, np.zeros((0, 2)), 0.0), [0.2, 0.6, 1.0, 0, 0])


def test_cut_transcripts_keep_the_times_of_the_words_that_are_read():
    read = Words(2)(TEXT)
    np.testing.assert_allclose(token_times(read, 3, TIMES, 4.0), [0.3, 1.5])


def test_transcripts_that_are_cut_are_counted(tokenizer):
    texts = [TEXT, "", "well", "well day well day"]
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    for length in (1, 2, 4, 6, 20):
        assert Subwords(tokenizer, length).count_cut(texts) == sum(found > length for found in lengths)
        assert Words(length).count_cut(texts) == sum(len(text.split()) > length for text in texts)
    assert Subwords(tokenizer, 1).count_cut([]) == 0


def test_empty_transcript_has_no_words(tokenizer):
    for read in (Subwords(tokenizer, 4)(""), Words(4)("")):
        assert not read.words.any()
        assert np.isfinite(token_times(read, 0, np.zeros((0, 2)), 3.0)).all()


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ({"mask_token_id": 4, "unk_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}, 4),
        ({"mask_token_id": None, "unk_token_id": 1, "bos_token_id": 2, "eos_token_id": 3}, 1),
        ({"mask_token_id": None, "unk_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}, 2),  # CLIP's
    ],
)
def test_a_masked_word_is_no_end_of_the_text(tokens, expected):
    assert Subwords(SimpleNamespace(**tokens), 8).mask_token == expected


def test_words_cannot_be_masked_without_a_token_for_it():
    tokenizer = SimpleNamespace(mask_token_id=None, unk_token_id=3, bos_token_id=None, eos_token_id=3)
    with pytest.raises(UserError, match="differs from its end token: words cannot be masked in training"):
        _ = Subwords(tokenizer, 8).mask_token


def test_a_reader_of_subwords_works_in_another_process(tokenizer):
    """As a part of the dataset of a PyTorch DataLoader, whose workers start anew."""
    reader = Subwords(tokenizer, 24)
    expected = reader(TEXT)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(reader, TEXT).result(timeout=120)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
