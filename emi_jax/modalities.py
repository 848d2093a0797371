"""The three modalities, in the order of every `[B, 3]` array."""

from collections.abc import Collection

VISION, AUDIO, TEXT = MODALITIES = ("vision", "audio", "text")

SAMPLE_RATE = 16_000
"""Of all audio, Hz."""

AUDIBLE = 16 / 32768
"""Peak as a share of full scale, -66 dBFS, below which sound counts as silent, ignoring a constant offset."""

STEPWISE = ("features", "mask", "clean", "supervised", "times")
"""What stage 2 knows of each modality's steps, from a tower, a describer or the feature cache."""


def in_order(chosen: Collection[str]) -> list[str]:
    """The modalities chosen, in the order of `MODALITIES`.

    Raises:
        ValueError: none, or an unknown one.
    """
    if not chosen or set(chosen) - set(MODALITIES):
        raise ValueError(f"modalities = {tuple(chosen)}: name at least one of {MODALITIES} and nothing else")
    return [name for name in MODALITIES if name in chosen]
