"""The ranges of a config's numbers."""

import math
from collections.abc import Callable, Iterator

from ml_collections import ConfigDict

from emi_jax.errors import UserError

_ONE = ("batch_size", "num_frames", "num_tokens", "num_steps", "width", "vision_hidden", "num_layers", "num_heads")
_ZERO = ("image_size", "frame_rate", "threads", "renditions", "lstm_hidden", "audio_hidden", "profile", "seed")
_LOSSES = ("mse", "correlation", "ccc", "quality", "unimodal")
RULES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    ("1 or more", lambda x: x >= 1, (*_ONE, "mlp_ratio", "rank", "log_every", "members", "keep")),
    ("0 or more", lambda x: x >= 0, (*_ZERO, *_LOSSES, "final_rate", "warmup_epochs", "weight_decay", "clip_norm")),
    ("above 0", lambda x: x > 0, ("epochs", "learning_rate", "seconds", "alpha", "evaluate_every", "save_every")),
    ("in [0, 1]", lambda x: 0 <= x <= 1, ("corrupt", "balance", "swa")),
    ("in [0, 1)", lambda x: 0 <= x < 1, ("dropout", "input_dropout", "modality_dropout", "ema")),
    ("in (0, 1]", lambda x: 0 < x <= 1, ("smallest_crop", "layer_decay")),
)
"""(range in words, its test, the names of the fields)."""
OTHERS = ("config", "scratch")
"""Sections whose fields are those of other libraries."""


def check_bounds(config: ConfigDict) -> None:
    """Checks that each number of a config is in its range.

    Raises:
        UserError: a number is not; the message says what it should be.
    """
    for path, value in _numbers(config):
        for words, holds, names in RULES:
            if path.rpartition(".")[2] in names and not (math.isfinite(value) and holds(value)):
                raise UserError(f"config.{path}={value:g} should be {words}")


def _numbers(section: ConfigDict, prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in section.items():
        if isinstance(value, ConfigDict) and name not in OTHERS:
            yield from _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield prefix + name, value
