"""Tiny systems without dropout, and how both sides' numbers are compared."""

from collections.abc import Mapping

import numpy as np
import pytest

from benchmarks.comparison import batches
from benchmarks.comparison.shapes import Sizes

TOLERANCE = 1e-4  # of each tensor's norm
SIZES = Sizes(batch=6, num_frames=5, seconds=0.25, num_tokens=7, width=16, num_heads=2)
FUSION = {"dropout": 0.0, "num_layers": 1, "tcn_dilations": (1, 2)}
PAIRS = {"vision": 1.0, "audio": 0.5}
_SMALL = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
ENCODERS = {
    "vision": {"model_type": "vit", "num_hidden_layers": 2, "image_size": 16, "patch_size": 8, **_SMALL},
    "audio": {
        "model_type": "wav2vec2",
        "num_hidden_layers": 1,
        "conv_dim": (8, 8, 8),
        "conv_kernel": (20, 8, 4),
        "conv_stride": (10, 8, 4),
        "num_conv_pos_embeddings": 4,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer",  # PyTorch's group norm would see the padding
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "layerdrop": 0.0,
        "apply_spec_augment": False,
        "mask_time_prob": 0.0,
        **_SMALL,
    },
    "text": {
        "model_type": "bert",
        "num_hidden_layers": 1,
        "vocab_size": 40,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        **_SMALL,
    },
}
GROUP_NORM = ENCODERS | {"audio": ENCODERS["audio"] | {"feat_extract_norm": "group"}}


def clips(seed: int = 0) -> batches.Batch:
    """Clips of different lengths, one without a face, one without a voice, one without words, one free place."""
    batch = batches.clips(np.random.default_rng(seed), SIZES, ENCODERS)
    for row, (column, name, values) in enumerate(
        ((0, "frame", "frames"), (1, "audio", "audio"), (2, "token", "tokens"))
    ):
        batch["present"][row, column] = False
        batch[f"{name}_mask"][row] = False
        batch[f"{name}_supervised"] = batch[f"{name}_mask"]
        batch[values][row] = 0
    batch["valid"][-1] = False
    return batch


def torch_batch(batch: Mapping[str, np.ndarray]) -> dict:
    """The batch for the twin."""
    torch = pytest.importorskip("torch")
    return {name: torch.from_numpy(np.array(array)) for name, array in batch.items()}


def assert_agree(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], tolerance: float = TOLERANCE
) -> None:
    """Fails unless each tensor differs by less than `tolerance` of its norm.

    Below a floor of 1e-6 of the largest norm a tensor is rounding and no more: the gradient of an attention key's bias
    is zero, as softmax does not see what all keys share.
    """
    assert ours.keys() == theirs.keys()
    norms = {path: np.linalg.norm(np.asarray(value, np.float64)) for path, value in theirs.items()}
    floor = 1e-6 * max(norms.values())
    for path, norm in norms.items():
        difference = np.linalg.norm(np.asarray(ours[path], np.float64) - np.asarray(theirs[path], np.float64))
        assert difference <= tolerance * norm + floor, f"{path}: {difference / max(norm, floor):.1e} of {norm:.1e}"
