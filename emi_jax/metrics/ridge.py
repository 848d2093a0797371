"""Ridge regression in its dual form, for few clips with many features."""

from collections.abc import Sequence

import numpy as np
import scipy.linalg

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Penalties to choose from, relative to a kernel whose diagonal is about 1."""


def ridge(train: np.ndarray, labels: np.ndarray, others: Sequence[np.ndarray], penalty: float) -> list[np.ndarray]:
    """Predicts by kernel ridge regression with a linear kernel, k(a, b) = a . b / S (Hastie et al., ESL, 12.3.7).

    Args:
        train: [n, S], standardised.
        labels: [n, K].
        others: arrays [., S] to predict.
        penalty: added to the kernel's diagonal.

    Returns:
        Predictions [., K] for each of `others`.
    """
    centre = labels.mean(axis=0)
    kernel = train @ train.T / train.shape[1]
    kernel[np.diag_indices_from(kernel)] += penalty
    weights = scipy.linalg.solve(kernel, labels - centre, assume_a="pos")
    return [centre + (x @ train.T / train.shape[1]) @ weights for x in others]
