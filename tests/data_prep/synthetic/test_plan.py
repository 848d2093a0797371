import numpy as np
import pytest

from data_prep.synthetic import words
from data_prep.synthetic.plan import LONGEST, MISSING, NOISY, OCCLUDED, SHORTEST, plan_corpus

COUNTS = {"train": 600, "valid": 120, "test": 240}


@pytest.fixture(scope="module")
def plans():
    return plan_corpus(COUNTS, seed=7)


def test_seed_determines_the_plan(plans):
    assert plan_corpus(COUNTS, seed=7) == plans
    assert plan_corpus(COUNTS, seed=8)[0] != plans[0]


def test_splits_have_their_counts_and_no_speaker_in_common(plans):
    speakers = {split: {plan.speaker for plan in plans if plan.split == split} for split in COUNTS}
    assert {split: sum(plan.split == split for plan in plans) for split in COUNTS} == COUNTS
    assert len(set.union(*speakers.values())) == sum(map(len, speakers.values())) >= 12


def test_transcripts_are_diverse_and_partly_shared(plans):
    train = {plan.text for plan in plans if plan.split == "train"}
    test = [plan.text for plan in plans if plan.split == "test"]
    assert len({plan.text for plan in plans}) >= 100
    assert len(set(test)) < len(test)
    assert 0.05 < np.mean([text in train for text in test]) < 0.5


def test_defects_have_their_stated_shares(plans):
    defects = [plan.defects for plan in plans]
    for name, share in MISSING.items():
        assert np.mean([d.missing == name for d in defects]) == pytest.approx(share, abs=0.02)
    assert np.mean([bool(d.occluder) for d in defects]) == pytest.approx(OCCLUDED, abs=0.03)
    assert np.mean([np.isfinite(d.snr_db) for d in defects]) == pytest.approx(NOISY, abs=0.03)
    assert not any(d.missing == "voice" and np.isfinite(d.snr_db) for d in defects)


def test_speech_fits_its_clip(plans):
    for plan in plans:
        assert SHORTEST <= plan.seconds <= LONGEST
        assert plan.syllables[-1].end <= plan.seconds
        assert all(a.end <= b.start + 1e-9 for a, b in zip(plan.syllables, plan.syllables[1:], strict=False))


def test_wording_is_graded():
    rng = np.random.default_rng(0)
    silent = dict.fromkeys(words.LEXICON, 0)
    weak = words.compose(rng, silent | {"Admiration": 1}, "none", "none")
    strong = words.compose(rng, silent | {"Admiration": 4}, "nod", "o")
    assert any(word in weak for word in ("nice", "neat", "decent"))
    assert any(word in strong for word in ("breathtaking", "magnificent", "marvellous"))
    assert strong.startswith("Oh, ")
    levels = [words.levels(dict.fromkeys(words.LEXICON, value))["Admiration"] for value in np.linspace(0, 1, 11)]
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (0, 4)


@pytest.mark.parametrize(("word", "count"), [("nice", 1), ("amazing", 3), ("ridiculous", 4), ("game", 1), ("story", 2)])
def test_syllables_of_words(word, count):
    assert len(words.speak(np.random.default_rng(0), word, pace=0.15, longest=4.0)) == count


def test_voice_shares_vowels_only_with_the_interjection():
    spoken = [words.speak(np.random.default_rng(seed), "Whee, it is it", 0.15, 4.0) for seed in range(20)]
    assert {syllables[0].vowel for syllables in spoken} == {"i"}
    assert {syllable.vowel for syllables in spoken for syllable in syllables[1:]} == set(words.VOWELS)


def test_the_strongest_emotions_are_named():
    level = {"Admiration": 1, "Amusement": 4, "Determination": 2, "Empathic Pain": 0, "Excitement": 0, "Joy": 4}
    text = words.compose(np.random.default_rng(0), level, "none", "none").lower()
    named = [
        name
        for name, (_, phrases) in words.LEXICON.items()
        if any(p.lower() in text for graded in phrases for p in graded)
    ]
    assert named == ["Amusement", "Joy"]
