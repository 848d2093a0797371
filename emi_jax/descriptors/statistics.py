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
    steps = features[valid].astype(np.float64)
    later = valid[1:] & valid[:-1]
    changes = features[1:][later].astype(np.float64) - features[:-1][later].astype(np.float64)
    spread = changes.std(axis=0) if len(changes) else np.zeros(features.shape[1])
    rows = [steps.mean(axis=0), steps.std(axis=0), *np.percentile(steps, PERCENTILES, axis=0), spread]
    return np.concatenate(rows).astype(np.float32)
