"""The encoder families, by Hugging Face's `model_type`.

To add a family: write its module in the folder of its modality in `emi_jax/models/`, add a line to `ENCODERS` here, and
add the names of its tensors to the families of that modality in `emi_jax/encoders/names/`.
"""

import types
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from emi_jax.kernels.attention import Implementation
from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.models.audio.data2vec import Data2VecAudio
from emi_jax.models.audio.speech import Speech, Wav2Vec2
from emi_jax.models.audio.speech_config import Data2VecAudioConfig, HubertConfig, Wav2Vec2Config, WavLMConfig
from emi_jax.models.audio.wav2vec2_bert import Wav2Vec2Bert, Wav2Vec2BertConfig
from emi_jax.models.audio.wavlm import WavLM
from emi_jax.models.audio.whisper import Whisper, WhisperConfig
from emi_jax.models.text.bert import Bert, BertConfig, DistilBertConfig, RobertaConfig, XLMRobertaConfig
from emi_jax.models.text.clip import CLIPText, CLIPTextConfig
from emi_jax.models.text.gte import Gte, GteConfig
from emi_jax.models.text.modernbert import ModernBert, ModernBertConfig
from emi_jax.models.vision.clip import CLIPVision, CLIPVisionConfig
from emi_jax.models.vision.dinov2 import DINOv2, DINOv2Config, DINOv2WithRegistersConfig
from emi_jax.models.vision.dinov3 import DINOv3, DINOv3Config
from emi_jax.models.vision.siglip import SiglipVision, SiglipVisionConfig
from emi_jax.models.vision.vit import ViT, ViTConfig

# Hugging Face's model_type -> the modality, the config and the encoder.
ENCODERS: dict[str, tuple[str, Any, Any]] = {
    "vit": (VISION, ViTConfig, ViT),
    "clip_vision_model": (VISION, CLIPVisionConfig, CLIPVision),
    "dinov2": (VISION, DINOv2Config, DINOv2),
    "dinov2_with_registers": (VISION, DINOv2WithRegistersConfig, DINOv2),
    "dinov3_vit": (VISION, DINOv3Config, DINOv3),
    "siglip_vision_model": (VISION, SiglipVisionConfig, SiglipVision),
    "bert": (TEXT, BertConfig, Bert),
    "roberta": (TEXT, RobertaConfig, Bert),
    "xlm-roberta": (TEXT, XLMRobertaConfig, Bert),
    "distilbert": (TEXT, DistilBertConfig, Bert),
    "gte": (TEXT, GteConfig, Gte),
    "new": (TEXT, GteConfig, Gte),  # the type under which GTE's checkpoints were published; saved as "gte"
    "modernbert": (TEXT, ModernBertConfig, ModernBert),
    "clip_text_model": (TEXT, CLIPTextConfig, CLIPText),
    "wav2vec2": (AUDIO, Wav2Vec2Config, Wav2Vec2),
    "hubert": (AUDIO, HubertConfig, Speech),
    "wavlm": (AUDIO, WavLMConfig, WavLM),
    "data2vec-audio": (AUDIO, Data2VecAudioConfig, Data2VecAudio),
    "whisper": (AUDIO, WhisperConfig, Whisper),
    "wav2vec2-bert": (AUDIO, Wav2Vec2BertConfig, Wav2Vec2Bert),
}
BIASED_ATTENTION = ("wavlm", "wav2vec2-bert")
"""The families that add relative positions to their attention logits."""
# The model_type of checkpoints of several encoders -> for a modality, its encoder and the part of config.json.
PARTS: dict[str, dict[str, tuple[str, str]]] = {
    "clip": {VISION: ("clip_vision_model", "vision_config"), TEXT: ("clip_text_model", "text_config")},
    "siglip": {VISION: ("siglip_vision_model", "vision_config")},
}


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
        role: the modality that the encoder is for; needed with the model_types of `PARTS`, which hold several encoders.
        dtype: dtype of the operands of matrix products; parameters and results are float32.
        remat: recompute each layer in the backward pass instead of storing its activations.
        attention_implementation: as in `dot_product_attention`.

    Returns:
        A module with `(inputs, mask, deterministic=True, output_hidden_states=False) -> (sequence, pooled[, states])`.

    Raises:
        ValueError: an unknown model_type, one for another modality, or an unsupported value.
    """
    check_family(config)
    model_type = config["model_type"]
    if parts := PARTS.get(model_type):
        if role not in parts:
            raise ValueError(
                f"a {model_type} checkpoint holds several encoders: role must be one of {tuple(parts)}, is {role!r}"
            )
        model_type, part = parts[role]
        config = config.get(part) or config.get(f"{part}_dict") or {}
    modality, config_type, encoder_type = ENCODERS[model_type]
    if role not in (None, modality):
        raise ValueError(f"model_type = {model_type!r} encodes {modality} and cannot be the {role} encoder")
    _check(config_type, config)
    result = config_type.from_dict(config)
    if result.hidden_size % result.num_attention_heads:
        raise ValueError(
            f"hidden_size = {result.hidden_size} is not a multiple of num_attention_heads = "
            f"{result.num_attention_heads}"
        )
    return encoder_type(result, dtype=dtype, remat=remat, attention_implementation=attention_implementation)


def check_family(config: Mapping[str, Any]) -> None:
    """Checks that the family of a Hugging Face config is known.

    Raises:
        ValueError: it is not; the message lists those that are.
    """
    families = sorted((*ENCODERS, *PARTS))
    if (model_type := config.get("model_type")) not in families:
        raise ValueError(f"model_type = {model_type!r} is not a known family of encoders: {', '.join(families)}")


SMALLEST = {
    **{"hidden_size": 1, "num_hidden_layers": 0, "num_attention_heads": 1, "intermediate_size": 1, "vocab_size": 1},
    **{"dim": 1, "n_layers": 0, "n_heads": 1, "hidden_dim": 1},  # DistilBERT's names
    **{"d_model": 1, "encoder_layers": 0, "encoder_attention_heads": 1, "encoder_ffn_dim": 1},  # Whisper's
}


def _check(config_type: Any, config: Mapping[str, Any]) -> None:
    """Checks the values of a config against the types of its fields, before anything is computed from them.

    Raises:
        ValueError: a value of another type, or a size that is too small.
    """
    for name, hint in typing.get_type_hints(config_type).items():
        if name not in config or typing.get_origin(hint) is ClassVar:
            continue
        value = config[name]
        if not _is_a(value, hint):
            raise ValueError(f"{name} = {value!r}: expected {getattr(hint, '__name__', hint)}")
        if name in SMALLEST and value < SMALLEST[name]:
            raise ValueError(f"{name} = {value}: expected {SMALLEST[name]} or more")


def _is_a(value: object, hint: Any) -> bool:
    """Whether a JSON value is of an annotated type: a list for a tuple, an integer for a float."""
    if isinstance(hint, types.UnionType):
        return any(_is_a(value, part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        part = typing.get_args(hint)[0]
        return isinstance(value, list | tuple) and bool(value) and all(_is_a(item, part) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))
