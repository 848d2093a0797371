"""Descriptors of words: the hash against values written down once, and lexicons against their files."""

import hashlib
import os

import numpy as np
import pytest

from emi_jax.descriptors.lexicon import normalise, read_lexicon
from emi_jax.descriptors.words import WordDescriptorsConfig, describe_words
from emi_jax.errors import UserError

CONFIG = WordDescriptorsConfig()


@pytest.fixture
def lexicon(tmp_path):
    path = tmp_path / "lexicon.csv"
    path.write_text("word,valence,arousal\nGood,1.5,0.25\nawful,-2,0.75\n:),1,1\n\n", encoding="utf-8-sig")
    return path


def test_hash_is_the_same_in_every_process_and_version():
    row = describe_words(WordDescriptorsConfig(buckets=16), ["joy"])[0]
    golden = [0, -1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0]
    np.testing.assert_allclose(row, golden / np.linalg.norm(golden), rtol=1e-6)


def test_columns_and_signs_follow_the_hash_of_each_piece():
    pieces = ["<joy>", "<jo", "joy", "oy>", "<joy", "joy>"]  # the word, then its n-grams of 3 and 4 letters
    expected = np.zeros(256)
    for piece in pieces:
        code = int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=8).digest(), "little")
        expected[code // 2 % 256] += [-1, 1][code % 2]
    np.testing.assert_allclose(describe_words(CONFIG, ["joy"])[0], expected / np.linalg.norm(expected), rtol=1e-6)


@pytest.mark.parametrize("variant", ["Joy", "JOY!", "“joy”,", "ｊｏｙ", "...joy "])
def test_spelling_of_the_same_word_makes_no_difference(variant):
    np.testing.assert_array_equal(*describe_words(CONFIG, ["joy", variant]))


@pytest.mark.parametrize(
    ("word", "expected"), [("Don't!", "don't"), ("STRASSE", "strasse"), ("Straße", "strasse"), (":)", ":)"), (" ", "")]
)
def test_normalised_word(word, expected):
    assert normalise(word) == expected


def test_rows_have_unit_length_and_do_not_depend_on_their_neighbours():
    words = ["a", "wonderful", "día", "你好", ":)", "x" * 300]
    described = describe_words(CONFIG, words)
    assert described.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(described, axis=1), 1, rtol=1e-6)
    for word, row in zip(words, described, strict=True):
        np.testing.assert_array_equal(describe_words(CONFIG, [word])[0], row)


def test_empty_words_are_zero_and_no_words_give_no_rows():
    np.testing.assert_array_equal(describe_words(CONFIG, ["", " "]), np.zeros((2, 256)))
    assert describe_words(CONFIG, []).shape == (0, 256)


def test_related_words_are_more_alike_than_others():
    happy, happiness, table = describe_words(WordDescriptorsConfig(buckets=4096), ["happy", "happiness", "table"])
    assert happy @ happiness > 0.25 > 0.15 > abs(happy @ table)


def test_length_of_ngrams_is_respected():
    described = describe_words(WordDescriptorsConfig(buckets=2**16, ngrams=(2, 2)), ["joy"])
    assert np.count_nonzero(described) == 5  # the word and <j, jo, oy, y>


def test_lexicon_adds_its_values_and_a_flag(lexicon):
    config = WordDescriptorsConfig(buckets=8, lexicon=str(lexicon))
    described = describe_words(config, ["GOOD,", "awful", "table", ":)"])
    assert described.shape[1] == config.hidden_size == 11
    np.testing.assert_array_equal(described[:, 8:], [[1.5, 0.25, 1], [-2, 0.75, 1], [0, 0, 0], [1, 1, 1]])
    plain = describe_words(WordDescriptorsConfig(buckets=8), ["GOOD,", "awful", "table", ":)"])
    np.testing.assert_array_equal(described[:, :8], plain)


def test_changed_lexicon_is_read_again(lexicon):
    before = read_lexicon(str(lexicon))
    lexicon.write_text("word,valence\ngood,7\n", encoding="utf-8")
    os.utime(lexicon, ns=(1, 1))
    after = read_lexicon(str(lexicon))
    assert before.columns == ("valence", "arousal")
    assert after.columns == ("valence",)
    assert after.values["good"] == 7
    assert after.sha256 == hashlib.sha256(lexicon.read_bytes()).hexdigest() != before.sha256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected a header word,NAME,..."),
        ("good,1\n", "first line is 'good,1'; expected a header"),
        ("word,v\n", "holds no words"),
        ("word,v\ngood,much\n", "line 2: 'good,much'; expected a word and 1 numbers"),
        ("word,v\nbad,1\ngood,1,2\n", "line 3: 'good,1,2'"),
        ("word,v\ngood,nan\n", "line 2: 'good,nan'"),
        ("word,v\ngood,1e300\n", "line 2: 'good,1e300'"),
        ("word,v\n ,1\n", "line 2"),
        ("word,v\ngood,1\nGood,2\n", "line 3: 'good' has other values above"),
        ("word,v\nd\xeda,1\n", "not a CSV file in UTF-8"),
    ],
)
def test_malformed_lexicon_is_refused_with_its_line(tmp_path, content, message):
    path = tmp_path / "lexicon.csv"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=rf"^lexicon {path}.*{message.replace('...', '[.]{3}')}"):
        describe_words(WordDescriptorsConfig(lexicon=str(path)), ["good"])


def test_missing_lexicon_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: cannot be read"):
        describe_words(WordDescriptorsConfig(lexicon=str(tmp_path / "none.csv")), ["good"])
