"""The sizes of the comparison: the demo as shipped in `configs/`, the paper's encoders, and sizes for a quick test."""

import dataclasses
from typing import Any

from configs.demo_encoders import DEMO_ENCODERS
from emi_jax.modalities import SAMPLE_RATE


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes of a batch and of the heads.

    Attributes:
        batch: B.
        num_frames: N.
        seconds: seconds of audio.
        num_tokens: L.
        width: P of the pairs in stage 1, d of the fusion in stage 2.
        num_heads: number of attention heads of the fusion's decoder.
    """

    batch: int
    num_frames: int
    seconds: float
    num_tokens: int
    width: int
    num_heads: int = 8


NUM_LABELS = 6

BASE: dict[str, dict[str, Any]] = {
    "vision": {"model_type": "vit", "hidden_size": 768},
    # Layerdrop would make the work of a step random; SpecAugment draws on the host in PyTorch. Both are off.
    "audio": {"model_type": "wav2vec2", "hidden_size": 768, "layerdrop": 0.0, "apply_spec_augment": False},
    "text": {"model_type": "bert", "hidden_size": 768},
}
PAPER: dict[str, dict[str, Any]] = {
    "vision": BASE["vision"],
    # As in the preset `vidmimic2`: attention weights without dropout, so that fused kernels can be used.
    "audio": BASE["audio"] | {"attention_dropout": 0.0},
    "text": BASE["text"] | {"attention_probs_dropout_prob": 0.0},
}
_SMALL = {"hidden_size": 128, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 256}
"""Heads are 64 wide, as in base encoders, so that the same attention kernels apply."""
TINY: dict[str, dict[str, Any]] = {
    "vision": PAPER["vision"] | {"image_size": 32, **_SMALL},
    "audio": PAPER["audio"]
    | {"conv_dim": (32,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, **_SMALL},
    "text": PAPER["text"] | {"vocab_size": 64, **_SMALL},
}
ENCODERS = {"demo": DEMO_ENCODERS, "base": BASE, "paper": PAPER, "tiny": TINY}
"""Encoder configs by preset; `paper` is `base` at the sizes of the preset `vidmimic2`."""

_EQUAL = {"paper": Sizes(32, 16, 12.0, 128, 256), "tiny": Sizes(4, 3, 0.5, 12, 64, 2)}
"""The presets whose sizes are the same in all cases."""
STAGE1 = _EQUAL | {"demo": Sizes(16, 2, 2.0, 24, 96), "base": Sizes(4, 2, 2.0, 32, 256)}
STAGE2 = _EQUAL | {"demo": Sizes(32, 8, 3.0, 24, 96, 4), "base": Sizes(4, 2, 2.0, 32, 256)}
CACHED = _EQUAL | {"demo": STAGE2["demo"], "base": Sizes(16, 32, 5.0, 64, 256)}
PAIR_WEIGHTS = {name: {"vision": 1.0, "audio": 1.0} for name in ENCODERS} | {"demo": {"vision": 1.0, "audio": 0.3}}


def audio_steps(seconds: float, config: dict[str, Any]) -> int:
    """T, the number of encoder steps, for this many seconds of audio."""
    kernels = config.get("conv_kernel", (10, 3, 3, 3, 3, 2, 2))
    strides = config.get("conv_stride", (5, 2, 2, 2, 2, 2, 2))
    length = round(seconds * SAMPLE_RATE)
    for kernel, stride in zip(kernels, strides, strict=True):
        length = (length - kernel) // stride + 1
    return length
