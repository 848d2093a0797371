"""Buckets of clips of similar length: which clip is in which, and what is cut from its arrays."""

import numpy as np
import pytest

from emi_jax.errors import UserError
from emi_jax.inputs.augmentation import Augmentation
from emi_jax.inputs.lengths import LengthBuckets

SIZES = ({"audio_mask": 4, "text/mask": 2}, {"audio_mask": 8, "text/mask": 2}, {"audio_mask": 10, "text/mask": 6})


def clip(samples, tokens):
    """The arrays of a clip that is partly cached, at full size."""
    audio, text = np.arange(10) < samples, np.arange(6) < tokens
    return {
        "clip": np.asarray(7),
        "audio": np.arange(10),
        "audio_mask": audio,
        "audio_clean": audio,
        "audio_start": np.asarray(0.5),
        "text/features": np.ones((6, 3)),
        "text/mask": text,
        "text/times": np.arange(6),
        "text/pooled": np.ones(18),
        "frames": np.ones((9, 2)),
        "frame_mask": np.ones(9, bool),
    }


def test_a_clip_is_in_the_first_bucket_that_holds_all_of_it():
    sound, words = np.array([0, 4, 5, 8, 9, 10, 3]), np.array([0, 2, 2, 3, 1, 6, 3])
    buckets = LengthBuckets.of([(sound, (4, 8, 10)), (words, (2, 2, 6))], SIZES)
    assert buckets.of_clips.tolist() == [0, 0, 1, 2, 2, 2, 2]
    assert str(buckets).startswith("2 clips of up to 4 in audio_mask, 2 in text/mask; 1 clips of up to 8 in ")


def test_arrays_of_steps_are_cut_to_the_size_of_the_bucket_and_others_stay():
    buckets, whole = LengthBuckets(np.zeros(1, int), SIZES), clip(5, 2)
    cut = buckets.cut(whole, 1)
    changed = {name: len(cut[name]) for name in whole if cut[name].shape != whole[name].shape}
    sound, words = ("audio", "audio_mask", "audio_clean"), ("text/features", "text/mask", "text/times")
    assert changed == dict.fromkeys(sound, 8) | dict.fromkeys(words, 2)
    for name in changed:
        np.testing.assert_array_equal(cut[name], whole[name][: changed[name]])
    assert all(cut[name] is whole[name] for name in whole.keys() - changed.keys())


def test_a_clip_that_is_longer_than_its_index_says_is_refused():
    buckets = LengthBuckets(np.zeros(1, int), SIZES)
    with pytest.raises(UserError, match=r"clip number 7 is longer than .* step 5 in audio_mask, expected at most 4"):
        buckets.cut(clip(5, 2), 0)


def test_no_change_makes_a_voice_longer_than_is_foreseen():
    augmentation = Augmentation(voice=1.0, tempo=0.2, shift=0.3, noise=(0.0, 0.0), semitones=0.0)
    rng, found = np.random.default_rng(0), []
    for samples in (1, 37, 2000):
        for _ in range(40):
            change = augmentation.draw_voice(rng)
            taken, _ = change.window(np.ones(samples, np.int16), 0, 16000)
            found.append(len(change.apply(taken, rng)) / augmentation.longest_voice(samples))
    assert 0.85 < max(found) <= 1
    assert Augmentation().longest_voice(2000) == 2000
