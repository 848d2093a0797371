"""The names of vision encoders."""

from collections.abc import Mapping

from emi_jax.encoders.names.family import CLIP_HEADS, CLIP_LAYER, Family, layers

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

_DINOV2_LAYER = {
    "attention/query": "attention.attention.query",
    "attention/key": "attention.attention.key",
    "attention/value": "attention.attention.value",
    "attention/output": "attention.output.dense",
    "attention_norm": "norm1",
    "attention_scale": "layer_scale1",
    "mlp_norm": "norm2",
    "mlp_scale": "layer_scale2",
}
_DINOV2_MLP = {"mlp/hidden": "mlp.fc1", "mlp/output": "mlp.fc2"}
_DINOV2_GATED_MLP = {"mlp/gate": "mlp.weights_in", "mlp/hidden": "mlp.weights_in", "mlp/output": "mlp.weights_out"}
_DINOV3_LAYER = {
    "attention/query": "attention.q_proj",
    "attention/key": "attention.k_proj",
    "attention/value": "attention.v_proj",
    "attention/output": "attention.o_proj",
    "attention_norm": "norm1",
    "attention_scale": "layer_scale1",
    "mlp/gate": "mlp.gate_proj",
    "mlp/hidden": "mlp.up_proj",
    "mlp/output": "mlp.down_proj",
    "mlp_norm": "norm2",
    "mlp_scale": "layer_scale2",
}


def _dinov2(architecture: str, prefix: str, mlp: Mapping[str, str]) -> Family:
    return Family(
        architecture,
        f"{prefix}.",
        {
            "embedding/projection": "embeddings.patch_embeddings.projection",
            "final_norm": "layernorm",
            **layers({**_DINOV2_LAYER, **mlp}, "encoder.layer"),
        },
        {
            "embedding/class_token": "embeddings.cls_token",
            "embedding/positions": "embeddings.position_embeddings",
            "embedding/registers": "embeddings.register_tokens",
        },
        (r"classifier\..*", rf"({prefix}\.)?embeddings\.mask_token"),
    )


VISION_FAMILIES: dict[str, Family] = {
    "vit": Family(
        "ViTModel",
        "vit.",
        {
            "embedding/projection": "embeddings.patch_embeddings.projection",
            "final_norm": "layernorm",
            "pooler": "pooler.dense",
            **layers(_VIT_LAYER, "encoder.layer"),
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
            **layers(CLIP_LAYER, "encoder.layers"),
        },
        {
            "embedding/class_token": "embeddings.class_embedding",
            "embedding/positions": "embeddings.position_embedding.weight",
        },
        (r"text_model\..*", r"classifier\..*", "embeddings.position_ids", *CLIP_HEADS),
        dropped_axes={"embedding/class_token": 2, "embedding/positions": 1},
    ),
    "dinov2": _dinov2("Dinov2Model", "dinov2", _DINOV2_MLP),
    "dinov2, gated": _dinov2("Dinov2Model", "dinov2", _DINOV2_GATED_MLP),
    "dinov2_with_registers": _dinov2("Dinov2WithRegistersModel", "dinov2_with_registers", _DINOV2_MLP),
    "dinov2_with_registers, gated": _dinov2("Dinov2WithRegistersModel", "dinov2_with_registers", _DINOV2_GATED_MLP),
    "dinov3_vit": Family(
        "DINOv3ViTModel",
        "model.",
        {
            "embedding/projection": "embeddings.patch_embeddings",
            "final_norm": "norm",
            **layers(_DINOV3_LAYER, "layer"),
        },
        {"embedding/class_token": "embeddings.cls_token", "embedding/registers": "embeddings.register_tokens"},
        (r"embeddings\.mask_token", r"classifier\..*"),
    ),
    "siglip_vision_model": Family(
        "SiglipVisionModel",
        "vision_model.",
        {
            "embedding/projection": "embeddings.patch_embedding",
            "final_norm": "post_layernorm",
            "pooling/attention/output": "head.attention.out_proj",
            "pooling/norm": "head.layernorm",
            "pooling/mlp/hidden": "head.mlp.fc1",
            "pooling/mlp/output": "head.mlp.fc2",
            **layers(CLIP_LAYER, "encoder.layers"),
        },
        {
            "embedding/positions": "embeddings.position_embedding.weight",
            "pooling/probe": "head.probe",
            "pooling/attention/query/kernel": "head.attention.in_proj_weight",
            "pooling/attention/key/kernel": "head.attention.in_proj_weight",
            "pooling/attention/value/kernel": "head.attention.in_proj_weight",
            "pooling/attention/query/bias": "head.attention.in_proj_bias",
            "pooling/attention/key/bias": "head.attention.in_proj_bias",
            "pooling/attention/value/bias": "head.attention.in_proj_bias",
        },
        (r"text_model\..*", r"classifier\..*", r"logit_(scale|bias)", r".*\.position_ids"),
        dropped_axes={"embedding/positions": 1},
    ),
}
