"""The name of each parameter in a Hugging Face checkpoint, and the tensors in such a checkpoint that are ignored."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from emi_jax.models.vit import height_width

_BERT_LAYER = {
    "attention/query": "attention.self.query",
    "attention/key": "attention.self.key",
    "attention/value": "attention.self.value",
    "attention/output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "mlp/hidden": "intermediate.dense",
    "mlp/output": "output.dense",
    "mlp_norm": "output.LayerNorm",
}
_VIT_LAYER = {
    "attention/query": "attention.attention.query",
    "attention/key": "attention.attention.key",
    "attention/value": "attention.attention.value",
    "attention/output": "attention.output.dense",
    "attention_norm": "layernorm_before",
    "mlp/hidden": "intermediate.dense",
    "mlp/output": "output.dense",
    "mlp_norm": "layernorm_after",
}
_CLIP_LAYER = {
    "attention/query": "self_attn.q_proj",
    "attention/key": "self_attn.k_proj",
    "attention/value": "self_attn.v_proj",
    "attention/output": "self_attn.out_proj",
    "attention_norm": "layer_norm1",
    "mlp/hidden": "mlp.fc1",
    "mlp/output": "mlp.fc2",
    "mlp_norm": "layer_norm2",
}
_SPEECH_LAYER = {
    "attention/query": "attention.q_proj",
    "attention/key": "attention.k_proj",
    "attention/value": "attention.v_proj",
    "attention/output": "attention.out_proj",
    "attention_norm": "layer_norm",
    "mlp/hidden": "feed_forward.intermediate_dense",
    "mlp/output": "feed_forward.output_dense",
    "mlp_norm": "final_layer_norm",
}
_SPEECH_MODULES = {
    "features/conv_{}": "feature_extractor.conv_layers.{}.conv",
    "features/norm_{}": "feature_extractor.conv_layers.{}.layer_norm",
    "projection_norm": "feature_projection.layer_norm",
    "projection": "feature_projection.projection",
    "positions": "encoder.pos_conv_embed.conv",
    "norm": "encoder.layer_norm",
}
_SPEECH_TENSORS = {
    "masked_spec_embed": "masked_spec_embed",
    "positions/magnitude": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "positions/direction": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
}
_SPEECH_HEADS = (r"lm_head\..*", r"projector\..*", r"classifier\..*", "layer_weights", r"tdnn\..*", r"objective\..*")
_CLIP_HEADS = ("logit_scale", r"(visual|text)_projection\..*", r".*\.position_ids")


@dataclasses.dataclass(frozen=True)
class Family:
    """The names of one family of checkpoints.

    Attributes:
        architecture: the Hugging Face class of the bare encoder.
        prefix: what the class with a head puts before every name of the encoder.
        modules: our module -> theirs, `{}` being the number of a layer.
        tensors: our parameter -> theirs, for those whose last part is not one of `LEAVES`.
        ignored: patterns of the full names of tensors that belong to heads, other parts or buffers.
    """

    architecture: str
    prefix: str
    modules: Mapping[str, str]
    tensors: Mapping[str, str]
    ignored: tuple[str, ...]

    def ignores(self, name: str) -> bool:
        """Whether the encoder does not need the tensor of this full name."""
        return any(re.fullmatch(pattern, name) for pattern in self.ignored)


def _layers(ours: Mapping[str, str], theirs: str) -> dict[str, str]:
    return {f"transformer/layers_{{}}/{name}": f"{theirs}.{{}}.{module}" for name, module in ours.items()}


FAMILIES: dict[str, Family] = {
    "vit": Family(
        "ViTModel",
        "vit.",
        {
            "embedding/projection": "embeddings.patch_embeddings.projection",
            "final_norm": "layernorm",
            "pooler": "pooler.dense",
            **_layers(_VIT_LAYER, "encoder.layer"),
        },
        {
            "embedding/class_token": "embeddings.cls_token",
            "embedding/positions": "embeddings.position_embeddings",
        },
        (r"classifier\..*", r"decoder\..*", r"(vit\.)?embeddings\.mask_token"),
    ),
    "clip_vision_model": Family(
        "CLIPVisionModel",
        "vision_model.",
        {
            "embedding/projection": "embeddings.patch_embedding",
            "first_norm": "pre_layrnorm",
            "final_norm": "post_layernorm",
            **_layers(_CLIP_LAYER, "encoder.layers"),
        },
        {
            "embedding/class_token": "embeddings.class_embedding",
            "embedding/positions": "embeddings.position_embedding.weight",
        },
        (r"text_model\..*", r"classifier\..*", "embeddings.position_ids", *_CLIP_HEADS),
    ),
    "bert": Family(
        "BertModel",
        "bert.",
        {
            "embedding/words": "embeddings.word_embeddings",
            "first_norm": "embeddings.LayerNorm",
            "pooler": "pooler.dense",
            **_layers(_BERT_LAYER, "encoder.layer"),
        },
        {
            "embedding/positions": "embeddings.position_embeddings.weight",
            "embedding/types": "embeddings.token_type_embeddings.weight",
        },
        (r"cls\..*", r"classifier\..*", r"qa_outputs\..*", r"(bert\.)?embeddings\.(position|token_type)_ids"),
    ),
    "clip_text_model": Family(
        "CLIPTextModel",
        "text_model.",
        {
            "embedding/words": "embeddings.token_embedding",
            "final_norm": "final_layer_norm",
            **_layers(_CLIP_LAYER, "encoder.layers"),
        },
        {"embedding/positions": "embeddings.position_embedding.weight"},
        (r"vision_model\..*", "embeddings.position_ids", *_CLIP_HEADS),
    ),
    "wav2vec2": Family(
        "Wav2Vec2Model",
        "wav2vec2.",
        {**_SPEECH_MODULES, **_layers(_SPEECH_LAYER, "encoder.layers")},
        _SPEECH_TENSORS,
        (*_SPEECH_HEADS, r"quantizer\..*", r"project_(hid|q)\..*"),
    ),
    "hubert": Family(
        "HubertModel",
        "hubert.",
        {**_SPEECH_MODULES, **_layers(_SPEECH_LAYER, "encoder.layers")},
        _SPEECH_TENSORS,
        _SPEECH_HEADS,
    ),
}

OPTIONAL = "masked_spec_embed"
"""Only training with SpecAugment reads it; checkpoints made without it lack it."""

LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight", "bias": "bias"}

# Older names of the same tensors: by the end of the name, to the end that is used now.
OLDER_ENDINGS = {
    ".LayerNorm.gamma": ".LayerNorm.weight",
    ".LayerNorm.beta": ".LayerNorm.bias",
    ".conv.weight_g": ".conv.parametrizations.weight.original0",
    ".conv.weight_v": ".conv.parametrizations.weight.original1",
}


def windows(config: Any) -> dict[str, tuple[int, ...]]:
    """The spatial sizes of the kernels that are convolutions in Hugging Face's models, by our module."""
    if hasattr(config, "patch_size"):
        return {"embedding/projection": height_width(config.patch_size)}
    if hasattr(config, "conv_kernel"):
        return {f"features/conv_{index}": (width,) for index, width in enumerate(config.conv_kernel)}
    return {}
