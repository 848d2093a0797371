"""The cost of one training step by formulas of its sizes: FLOPs, bytes of memory, and bytes between devices.

FLOPs are those of matrix products and convolutions, a multiplication and an addition counting separately; norms,
activations and AdamW add a few percent. `tests/benchmarks/test_scale.py` compares them with XLA's counts.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from benchmarks.comparison.ours import Encoders
from benchmarks.comparison.shapes import NUM_LABELS, Sizes, audio_steps
from emi_jax.encoders.registry import build_encoder
from emi_jax.models.vision.patches import height_width

FLOAT32 = 4
"""Bytes."""
MOMENTS = 2
"""Of each trained parameter in AdamW."""
TCN_LAYERS, TCN_WIDTH, DECODER_LAYERS, MLP_RATIO = 8, 3, 2, 4
"""Of the fusion's defaults: convolutions of the TCN and their taps, layers of the decoder, width of its MLP over d."""


@dataclasses.dataclass(frozen=True)
class Operations:
    """FLOPs of one clip.

    Attributes:
        frozen: of the forward pass of what is not trained and has nothing trained below it: it has no other pass.
        trained: of the forward pass of the rest. Its gradients by inputs and by weights take as many each.
        repeated: of the forward pass that is repeated in the backward pass, where layers are recomputed.
    """

    frozen: float
    trained: float
    repeated: float = 0.0

    @property
    def step(self) -> float:
        """FLOPs of a training step."""
        return self.frozen + 3 * self.trained + self.repeated


def transformer(config: Any, tokens: int) -> float:
    """A forward pass of all layers: four projections, attention, and the MLP (Kaplan et al. 2020, 2.1)."""
    D, M = config.hidden_size, config.intermediate_size
    return config.num_hidden_layers * tokens * (2 * (4 * D * D + 2 * D * M) + 4 * tokens * D)


def tokens_of(encoders: Encoders, sizes: Sizes) -> dict[str, int]:
    """Tokens of one sequence of each encoder: of a frame, of a voice, of a transcript."""
    config: Any = _config(encoders, "vision")
    (height, width), (patch_height, patch_width) = height_width(config.image_size), height_width(config.patch_size)
    patches = (height // patch_height) * (width // patch_width)
    return {
        "vision": patches + 1,
        "audio": audio_steps(sizes.seconds, dict(encoders["audio"])),
        "text": sizes.num_tokens,
    }


def towers(encoders: Encoders, sizes: Sizes) -> dict[str, tuple[float, float]]:
    """A forward pass of one clip through each tower: FLOPs before its layers, and from its layers on."""
    tokens, configs = tokens_of(encoders, sizes), {name: _config(encoders, name) for name in encoders}
    vision, audio, text = configs["vision"], configs["audio"], configs["text"]
    height, width = height_width(vision.patch_size)
    patches = 2 * (tokens["vision"] - 1) * height * width * 3 * vision.hidden_size
    samples, channels, front_end = round(sizes.seconds * 16000), 1, 0.0
    for features, kernel, stride in zip(audio.conv_dim, audio.conv_kernel, audio.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
        front_end += 2 * samples * kernel * channels * features
        channels = features
    D = audio.hidden_size
    positions = audio.num_conv_pos_embeddings * D // audio.num_conv_pos_embedding_groups
    before_layers = 2 * tokens["audio"] * D * (channels + positions)
    frames = sizes.num_frames
    return {
        "vision": (frames * patches, frames * transformer(vision, tokens["vision"])),
        "audio": (front_end, before_layers + transformer(audio, tokens["audio"])),
        "text": (0.0, transformer(text, tokens["text"]) + 2 * text.hidden_size**2),
    }


def alignment(encoders: Encoders, sizes: Sizes, remat: bool = False) -> Operations:
    """Stage 1 without its loss: all towers trained but the convolutions of the audio encoder, and the projections."""
    parts, widths = towers(encoders, sizes), _widths(encoders)
    pairs = sum(2 * sizes.width * (widths[name] + widths["text"]) for name in ("vision", "audio"))
    (patches, vision), (front_end, audio), (_, text) = (parts[name] for name in ("vision", "audio", "text"))
    layers = sum(
        transformer(_config(encoders, name), tokens) * (sizes.num_frames if name == "vision" else 1)
        for name, tokens in tokens_of(encoders, sizes).items()
    )
    # Pixels have no gradient: the projection of patches has one by its weights, so two thirds of a trained part's work.
    return Operations(front_end, vision + audio + text + pairs + 2 / 3 * patches, layers if remat else 0.0)


def contrastive(clips: int, global_batch: int, width: int, pairs: int = 2) -> float:
    """FLOPs of InfoNCE on one device: its clips against all, in both directions, and the gradients of both sides."""
    directions = 1 if clips == global_batch else 2  # one device takes both from the same products
    return pairs * directions * 3 * 2 * clips * global_batch * width


def intensity(encoders: Encoders, sizes: Sizes, cached: bool) -> Operations:
    """Stage 2: the fusion, on features of frozen towers or from the cache."""
    encoded = 0.0 if cached else sum(map(sum, towers(encoders, sizes).values()))
    return Operations(encoded, fusion(encoders, sizes))


def fusion(encoders: Encoders, sizes: Sizes) -> float:
    """A forward pass of one clip through the fusion with its default parts."""
    d, K, widths = sizes.width, NUM_LABELS, _widths(encoders)
    steps = tokens_of(encoders, sizes) | {"vision": sizes.num_frames}
    total = sum(2 * steps[name] * widths[name] * d for name in steps)
    total += steps["vision"] * TCN_LAYERS * 2 * TCN_WIDTH * d * d
    lstm = 2 * (2 * d * 4 * d + 2 * d * 4 * d)  # both directions, with d units each
    total += steps["audio"] * (lstm + 2 * (2 * d) * d + 2 * (3 * d) * d)  # the output, and the gate
    memory = 1 + sum(steps.values())
    total += sum(2 * step * (d * d + d) + 2 * ((2 * d + 1) * d + d) for step in steps.values())  # QAM
    queries = K * (2 * 4 * d * d + 4 * K * d)  # to each other
    cross = 2 * 2 * d * d * (K + memory) + 4 * K * memory * d  # to the memory
    return total + DECODER_LAYERS * (queries + cross + K * 2 * 2 * d * MLP_RATIO * d)


def state_bytes(trained: int, frozen: int, devices: int = 1) -> int:
    """Bytes of parameters and AdamW's moments on a device, the moments split over `devices`."""
    return FLOAT32 * (trained + frozen) + FLOAT32 * MOMENTS * trained // devices


def stored_bytes(encoders: Encoders, sizes: Sizes) -> int:
    """Bytes of one clip that wait for the backward pass if layers are recomputed: the input of each layer."""
    total = 0
    for name, tokens in tokens_of(encoders, sizes).items():
        config, sequences = _config(encoders, name), sizes.num_frames if name == "vision" else 1
        total += sequences * tokens * config.hidden_size * config.num_hidden_layers * FLOAT32
    return total


def loss_bytes(clips: int, global_batch: int, pairs: int = 2) -> int:
    """Bytes of the logits of InfoNCE on one device: its clips against all, in both directions."""
    return pairs * 2 * clips * global_batch * FLOAT32


def reduced_bytes(trained: int) -> int:
    """Bytes of the gradients that devices average."""
    return FLOAT32 * trained


def gathered_bytes(global_batch: int, width: int, pairs: int = 2) -> int:
    """Bytes of the embeddings that each device receives: both sides of each pair."""
    return pairs * 2 * global_batch * width * FLOAT32


def sent_bytes(reduced: float, devices: int) -> float:
    """Bytes that each device sends to average an array, in a ring (Patarasu and Yuan 2009)."""
    return 2 * (devices - 1) / devices * reduced


def _config(encoders: Mapping[str, Mapping[str, Any]], name: str) -> Any:
    encoder: Any = build_encoder(encoders[name], name)
    return encoder.config


def _widths(encoders: Encoders) -> dict[str, int]:
    return {name: _config(encoders, name).hidden_size for name in encoders}
