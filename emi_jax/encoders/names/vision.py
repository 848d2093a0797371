"""The names of vision encoders."""

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
}
