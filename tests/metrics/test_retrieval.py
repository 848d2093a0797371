"""Retrieval compared with brute force, one query at a time."""

import itertools

import numpy as np
import pytest

from emi_jax.metrics.retrieval import chance_reached, first_hit_ranks, retrieval


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def brute_force_rank(query, candidates, hits):
    """Position of the first hit in the sorted list, with misses before hits among equal scores."""
    order = sorted(range(len(hits)), key=lambda j: (-float(query @ candidates[j]), hits[j]))
    return 1 + next(place for place, j in enumerate(order) if hits[j])


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_ranks_and_recalls_equal_those_of_a_sorted_list(chunk):
    rng = np.random.default_rng(0)
    left, noise = unit(rng.normal(size=(40, 8))), unit(rng.normal(size=(40, 8)))
    right = unit(left + 0.8 * noise)
    transcript = rng.integers(0, 25, 40)
    found = retrieval(left, right, transcript, ("vision", "text"), chunk)
    for name, queries, candidates in (("vision_to_text", left, right), ("text_to_vision", right, left)):
        ranks = np.array([brute_force_rank(queries[i], candidates, transcript == transcript[i]) for i in range(40)])
        np.testing.assert_array_equal(first_hit_ranks(queries, candidates, transcript, chunk), ranks)
        assert found[f"{name}/recall@1"] == pytest.approx(np.mean(ranks == 1))
        assert found[f"{name}/recall@5"] == pytest.approx(np.mean(ranks <= 5))
        assert found[f"{name}/median_rank"] == np.median(ranks)


def test_a_collapsed_model_has_the_worst_ranks():
    same = unit(np.ones((9, 4)))
    transcript = np.array([0, 0, 0, 1, 2, 3, 4, 5, 6])
    ranks = first_hit_ranks(same, same, transcript)
    np.testing.assert_array_equal(ranks, [7, 7, 7, 9, 9, 9, 9, 9, 9])
    assert retrieval(same, same, transcript)["left_to_right/recall@1"] == 0


def test_equal_transcripts_are_hits():
    rng = np.random.default_rng(1)
    words = unit(rng.normal(size=(6, 5)))
    swapped = words[[1, 0, 3, 2, 5, 4]]
    assert retrieval(words, swapped, np.array([0, 0, 1, 1, 2, 2]))["left_to_right/recall@1"] == 1
    assert retrieval(words, swapped, np.arange(6))["left_to_right/recall@1"] == 0


def test_chance_is_the_mean_over_all_orders():
    transcript = np.array([0, 0, 1, 2, 2, 2])
    orders = list(itertools.permutations(transcript))
    for r in range(1, 7):
        share = np.mean([[query in order[:r] for query in transcript] for order in orders])
        assert chance_reached(transcript)[r - 1] == pytest.approx(share)
    chance = retrieval(unit(np.eye(6)), unit(np.eye(6)), transcript)
    assert chance["chance/recall@1"] == pytest.approx((2 * 2 + 1 + 3 * 3) / 36)
    assert chance["chance/recall@5"] == pytest.approx(chance_reached(transcript)[4])
    assert chance["chance/median_rank"] == 2


def test_chance_with_distinct_transcripts_and_few_clips():
    chance = retrieval(unit(np.eye(4)), unit(np.eye(4)), np.arange(4))
    assert (chance["chance/recall@1"], chance["chance/recall@5"], chance["chance/median_rank"]) == (0.25, 1, 2)


def test_errors_say_what_is_wrong():
    x = unit(np.eye(4))
    with pytest.raises(ValueError, match="n > 0"):
        retrieval(x[:0], x[:0], np.arange(0))
    with pytest.raises(ValueError, match=r"\[n, P\]"):
        retrieval(x, x[:, :2], np.arange(4))
    with pytest.raises(ValueError, match="vision or text are not finite"):
        retrieval(x, x * np.nan, np.arange(4), ("vision", "text"))
