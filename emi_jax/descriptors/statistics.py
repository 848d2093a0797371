"""Statistics of a sequence over time: one row for a clip of any length."""

import numpy as np

PERCENTILES = (10, 50, 90)


def pooled_statistics(features: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Pools a sequence over its valid steps.

    Args:
        features: float [T, D]; what invalid steps hold is ignored.
        valid: bool [T].

    Returns:
        float32 [6 D]: the means of all columns, then their standard deviations (of the population), their 10th, 50th
        and 90th percentiles (interpolated linearly), and the standard deviations of their differences between
        neighbouring steps that are both valid. Zeros without valid steps; deviations of fewer than two values are 0.

    Raises:
        ValueError: `valid` is of another type or length.
    """
    if features.ndim != 2 or valid.dtype != np.bool_ or valid.shape != features.shape[:1]:
        raise ValueError(
            f"features {list(features.shape)}, valid {valid.dtype} {list(valid.shape)}; expected [T, D] and bool [T]"
        )
    if not valid.any():
        return np.zeros(6 * features.shape[1], np.float32)
    columns = np.ascontiguousarray(features.T, np.float32)  # [D, T]: sums and sorting run along the memory
    steps, later = columns[:, valid], valid[1:] & valid[:-1]
    changes = np.diff(columns, axis=1)[:, later]
    spread = changes.std(axis=1) if changes.size else np.zeros(len(columns))
    rows = [steps.mean(axis=1), steps.std(axis=1), *_percentiles(steps), spread]
    return np.concatenate(rows).astype(np.float32)


def _percentiles(columns: np.ndarray) -> list[np.ndarray]:
    """As `numpy.percentile` along the last axis, in a quarter of its time."""
    ordered, last = np.sort(columns, axis=1), columns.shape[1] - 1
    found = []
    for percentile in PERCENTILES:
        below, share = divmod(last * percentile / 100, 1)
        low, high = ordered[:, int(below)], ordered[:, min(int(below) + 1, last)]
        found.append(low + np.float32(share) * (high - low))
    return found
