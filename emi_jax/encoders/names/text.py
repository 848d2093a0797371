"""The names of text encoders."""

from emi_jax.encoders.names.family import CLIP_HEADS, CLIP_LAYER, Family, layers

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

TEXT_FAMILIES: dict[str, Family] = {
    "bert": Family(
        "BertModel",
        "bert.",
        {
            "embedding/words": "embeddings.word_embeddings",
            "first_norm": "embeddings.LayerNorm",
            "pooler": "pooler.dense",
            **layers(_BERT_LAYER, "encoder.layer"),
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
            **layers(CLIP_LAYER, "encoder.layers"),
        },
        {"embedding/positions": "embeddings.position_embedding.weight"},
        (r"vision_model\..*", "embeddings.position_ids", *CLIP_HEADS),
    ),
}
