"""The PyTorch side: the twin at the sizes of the comparison."""

from collections.abc import Mapping
from typing import Any

from benchmarks.comparison.shapes import NUM_LABELS, Sizes
from benchmarks.comparison.twin.fusion import Fusion
from benchmarks.comparison.twin.stages import Alignment, Intensity

Encoders = Mapping[str, Mapping[str, Any]]


def alignment(encoders: Encoders, sizes: Sizes, weights: Mapping[str, float]) -> Alignment:
    """The twin of stage 1."""
    return Alignment(encoders, sizes.width, weights)


def intensity(
    encoders: Encoders, sizes: Sizes, *, modality_dropout: float = 0.1, dropout: float = 0.1, **fields: Any
) -> Intensity:
    """The twin of stage 2 on frozen towers or cached features; `fields` are those of `Fusion`."""
    widths = {name: config["hidden_size"] for name, config in encoders.items()}
    head = Fusion(widths, NUM_LABELS, sizes.width, num_heads=sizes.num_heads, dropout=dropout, **fields)
    return Intensity(encoders, head, modality_dropout)
