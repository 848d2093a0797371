"""The names of text encoders."""

import dataclasses

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
_DISTILBERT_LAYER = {
    "attention/query": "attention.q_lin",
    "attention/key": "attention.k_lin",
    "attention/value": "attention.v_lin",
    "attention/output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "mlp/hidden": "ffn.lin1",
    "mlp/output": "ffn.lin2",
    "mlp_norm": "output_layer_norm",
}
_GTE_MODULE_LAYER = {
    "attention/query": "self_attn.q_proj",
    "attention/key": "self_attn.k_proj",
    "attention/value": "self_attn.v_proj",
    "attention/output": "self_attn.o_proj",
    "attention_norm": "post_attention_layernorm",
    "mlp/hidden": "mlp.up_proj",
    "mlp/gate": "mlp.gate_proj",
    "mlp/output": "mlp.down_proj",
    "mlp_norm": "post_mlp_layernorm",
}
_GTE_LAYER = {
    "attention/query": "attention.qkv_proj",
    "attention/key": "attention.qkv_proj",
    "attention/value": "attention.qkv_proj",
    "attention/output": "attention.o_proj",
    "attention_norm": "attn_ln",
    "mlp/hidden": "mlp.up_gate_proj",
    "mlp/gate": "mlp.up_gate_proj",
    "mlp/output": "mlp.down_proj",
    "mlp_norm": "mlp_ln",
}
_MODERNBERT_LAYER = {
    "attention/query": "attn.Wqkv",
    "attention/key": "attn.Wqkv",
    "attention/value": "attn.Wqkv",
    "attention/output": "attn.Wo",
    "attention_norm": "attn_norm",
    "mlp/gate": "mlp.Wi",  # the half that is activated, "input" there
    "mlp/hidden": "mlp.Wi",
    "mlp/output": "mlp.Wo",
    "mlp_norm": "mlp_norm",
}

_EMBEDDINGS = {"embedding/words": "embeddings.word_embeddings", "first_norm": "embeddings.LayerNorm"}
_POSITIONS = {"embedding/positions": "embeddings.position_embeddings.weight"}
_TYPES = {"embedding/types": "embeddings.token_type_embeddings.weight"}
_HEADS = (r"(lm_head|classifier|qa_outputs)\..*", r"(\w+\.)?embeddings\.(position|token_type)_ids")

_BERT = Family(
    "BertModel",
    "bert.",
    {**_EMBEDDINGS, "pooler": "pooler.dense", **layers(_BERT_LAYER, "encoder.layer")},
    {**_POSITIONS, **_TYPES},
    (r"cls\..*", *_HEADS),
)
_GTE_HEADS = (r"((new|gte)\.)?pooler\..*", *_HEADS)
# Transformers keeps the names of the published checkpoints in its files; those of its modules are an alternative.
_GTE = Family("GteModel", "new.", {**_EMBEDDINGS, **layers(_GTE_LAYER, "encoder.layer")}, _TYPES, _GTE_HEADS)
_GTE_MODULES = Family("GteModel", "gte.", {**_EMBEDDINGS, **layers(_GTE_MODULE_LAYER, "layers")}, _TYPES, _GTE_HEADS)

TEXT_FAMILIES: dict[str, Family] = {
    "bert": _BERT,
    "roberta": dataclasses.replace(_BERT, architecture="RobertaModel", prefix="roberta."),
    "xlm-roberta": dataclasses.replace(_BERT, architecture="XLMRobertaModel", prefix="roberta."),
    "distilbert": Family(
        "DistilBertModel",
        "distilbert.",
        {**_EMBEDDINGS, **layers(_DISTILBERT_LAYER, "transformer.layer")},
        _POSITIONS,
        (r"(vocab_(transform|layer_norm|projector)|pre_classifier)\..*", *_HEADS),
    ),
    "gte": dataclasses.replace(_GTE, alternatives=(dataclasses.replace(_GTE, prefix="gte."), _GTE_MODULES)),
    "modernbert": Family(
        "ModernBertModel",
        "model.",
        {
            "embedding/words": "embeddings.tok_embeddings",
            "first_norm": "embeddings.norm",
            "final_norm": "final_norm",
            **layers(_MODERNBERT_LAYER, "layers"),
        },
        {},
        (r"(head|decoder|classifier)\..*",),
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
