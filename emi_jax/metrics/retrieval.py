"""Cross-modal retrieval over a whole split: recall, median rank, and the values at chance.

A query's hits are all clips with the same transcript, and its rank is that of the first hit. Ties count against the
model: every miss that equals the best hit up to rounding is ranked before it, so a collapsed model, which gives all
clips the same score, gets the worst ranks rather than the best.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

RECALLS = (1, 5)
# Cosines closer than this differ only by the rounding of a float32 dot product.
_TIE = 1e-6


def retrieval(
    left: ArrayLike,
    right: ArrayLike,
    transcript: ArrayLike,
    names: Sequence[str] = ("left", "right"),
    chunk: int = 1024,
) -> dict[str, float]:
    """Recall@1, recall@5 and median rank in both directions, and the same for a random order.

    Args:
        left: float [n, P] L2-normalised embeddings, e.g. of the faces.
        right: float [n, P] L2-normalised embeddings of the same clips, e.g. of the words.
        transcript: int [n], equal for clips that are hits of each other.
        names: names of left and right in the result.
        chunk: number of queries compared at a time; memory is chunk x n.

    Returns:
        `{"vision_to_text/recall@1": ..., "vision_to_text/median_rank": ..., "text_to_vision/...": ...,
        "chance/recall@1": ..., "chance/median_rank": ...}`; recalls lie in [0, 1], ranks start at 1.

    Raises:
        ValueError: no clips, shapes that do not match, or embeddings that are not finite.
    """
    left, right = np.asarray(left, np.float32), np.asarray(right, np.float32)
    transcript = np.asarray(transcript)
    if left.ndim != 2 or left.shape != right.shape or transcript.shape != left.shape[:1] or not len(left):
        raise ValueError(
            f"Retrieval over embeddings {left.shape} and {right.shape} with transcripts {transcript.shape}: expected "
            "[n, P], [n, P] and [n] with n > 0. Leave the pair out when no clip has both of its modalities."
        )
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError(f"Embeddings of {names[0]} or {names[1]} are not finite: the model has diverged.")
    results = {}
    forward, backward = f"{names[0]}_to_{names[1]}", f"{names[1]}_to_{names[0]}"
    for direction, queries, candidates in ((forward, left, right), (backward, right, left)):
        ranks = first_hit_ranks(queries, candidates, transcript, chunk)
        for k in RECALLS:
            results[f"{direction}/recall@{k}"] = float((ranks <= k).mean())
        results[f"{direction}/median_rank"] = float(np.median(ranks))
    reached = chance_reached(transcript)
    for k in RECALLS:
        results[f"chance/recall@{k}"] = float(reached[min(k, len(reached)) - 1])
    # The margin admits sums that equal one half up to rounding.
    results["chance/median_rank"] = float(np.searchsorted(reached, 0.5 - 1e-9) + 1)
    return results


def first_hit_ranks(queries: NDArray, candidates: NDArray, transcript: NDArray, chunk: int = 1024) -> NDArray[np.int64]:
    """Rank, from 1, of each query's first hit among the n candidates, ties counted against it: int [n]."""
    ranks = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), chunk):
        rows = slice(start, start + chunk)
        scores = queries[rows] @ candidates.T
        hits = transcript[rows, None] == transcript[None, :]
        best = np.where(hits, scores, -np.inf).max(1, keepdims=True)
        ranks[rows] = 1 + (~hits & (scores >= best - _TIE)).sum(1)
    return ranks


def chance_reached(transcript: NDArray) -> NDArray[np.float64]:
    """Mean over queries of the probability that a random order has a hit in its first r of n clips: [n] for r = 1..n.

    A query with h hits has none in the first r with probability `prod_{i<r} (n - h - i) / (n - i)`.
    """
    n = len(transcript)
    _, sizes = np.unique(transcript, return_counts=True)
    drawn = np.arange(n)
    missed = np.zeros(n)
    for hits, groups in zip(*np.unique(sizes, return_counts=True), strict=True):
        missed += groups * hits / n * np.cumprod(np.maximum(n - hits - drawn, 0) / (n - drawn))
    return 1 - missed
