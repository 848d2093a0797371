"""The families of encoders by Hugging Face's `model_type`.

To add one: its module in `models/`, a line here, and the names of its tensors in `names.py`.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.kernels.attention import Implementation
from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.models.speech import Speech
from emi_jax.models.speech_config import HubertConfig, Wav2Vec2Config
from emi_jax.models.text import Bert, BertConfig, CLIPText, CLIPTextConfig
from emi_jax.models.vit import CLIPVision, CLIPVisionConfig, ViT, ViTConfig

# Hugging Face's model_type -> the modality, the config and the encoder.
ENCODERS: dict[str, tuple[str, Any, Any]] = {
    "vit": (VISION, ViTConfig, ViT),
    "clip_vision_model": (VISION, CLIPVisionConfig, CLIPVision),
    "bert": (TEXT, BertConfig, Bert),
    "clip_text_model": (TEXT, CLIPTextConfig, CLIPText),
    "wav2vec2": (AUDIO, Wav2Vec2Config, Speech),
    "hubert": (AUDIO, HubertConfig, Speech),
}
CLIP_PARTS = {VISION: ("clip_vision_model", "vision_config"), TEXT: ("clip_text_model", "text_config")}


def build_encoder(
    config: Mapping[str, Any],
    role: str | None = None,
    *,
    dtype: DTypeLike = jnp.float32,
    remat: bool = False,
    attention_implementation: Implementation | None = None,
) -> nn.Module:
    """Builds the encoder that a Hugging Face config describes.

    Args:
        config: the dict of a config.json, or as much of it as differs from Hugging Face's defaults, with `model_type`.
        role: the modality that the encoder is for; needed with model_type "clip", which has a vision and a text part.
        dtype: dtype of the operands of matrix products; parameters and results are float32.
        remat: recompute each layer in the backward pass instead of storing its activations.
        attention_implementation: as in `dot_product_attention`.

    Returns:
        A module with `(inputs, mask, deterministic=True, output_hidden_states=False) -> (sequence, pooled[, states])`.

    Raises:
        ValueError: an unknown model_type, one for another modality, or a value that the encoder cannot honour.
    """
    model_type = config.get("model_type")
    if model_type == "clip":
        if role not in CLIP_PARTS:
            raise ValueError(
                f"a clip config has a vision and a text part: role must be one of {tuple(CLIP_PARTS)}, is {role!r}"
            )
        model_type, part = CLIP_PARTS[role]
        config = config.get(part) or config.get(f"{part}_dict") or {}
    if model_type not in ENCODERS:
        raise ValueError(f"model_type = {model_type!r} is not supported; choose one of {(*ENCODERS, 'clip')}")
    modality, config_type, encoder_type = ENCODERS[model_type]
    if role not in (None, modality):
        raise ValueError(f"model_type = {model_type!r} encodes {modality}, it was asked for as the {role} encoder")
    return encoder_type(
        config_type.from_dict(config), dtype=dtype, remat=remat, attention_implementation=attention_implementation
    )
