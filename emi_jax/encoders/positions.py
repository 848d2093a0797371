"""Position embeddings of images for another size of images."""

import numpy as np


def resize_bicubic(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic interpolation as `torch.nn.functional.interpolate` does it (align_corners=False, no antialiasing).

    Cubic convolution (Keys 1981) with a = -0.75 and the border repeated.

    Args:
        grid: float `[H, W, D]`.
        size: the new H and W.

    Returns:
        float32 `[*size, D]`.
    """
    rows, columns = (_cubic_weights(old, new) for old, new in zip(grid.shape, size, strict=False))
    return np.einsum("hH,wW,HWD->hwD", rows, columns, grid.astype(np.float64), optimize=True).astype(np.float32)


def _cubic_weights(old: int, new: int) -> np.ndarray:
    """The weights `[new, old]` of one axis."""
    a = -0.75
    centre = (np.arange(new) + 0.5) * old / new - 0.5
    weights = np.zeros((new, old))
    for offset in range(-1, 3):
        tap = np.floor(centre) + offset
        x = np.abs(centre - tap)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        np.add.at(weights, (np.arange(new), np.clip(tap, 0, old - 1).astype(int)), np.where(x <= 1, near, far))
    return weights
