"""The names of audio encoders."""

from emi_jax.encoders.names.family import Family, layers

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
    "norm": "encoder.layer_norm",
    **layers(_SPEECH_LAYER, "encoder.layers"),
}
_POSITIONS = {"positions": "encoder.pos_conv_embed.conv"}
_MASKED = {"masked_spec_embed": "masked_spec_embed"}
_SPEECH_TENSORS = {
    **_MASKED,
    "positions/magnitude": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "positions/direction": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
}
_SPEECH_HEADS = (r"lm_head\..*", r"projector\..*", r"classifier\..*", "layer_weights", r"tdnn\..*", r"objective\..*")

_WHISPER_LAYER = {
    "attention/query": "self_attn.q_proj",
    "attention/key": "self_attn.k_proj",
    "attention/value": "self_attn.v_proj",
    "attention/output": "self_attn.out_proj",
    "attention_norm": "self_attn_layer_norm",
    "mlp/hidden": "fc1",
    "mlp/output": "fc2",
    "mlp_norm": "final_layer_norm",
}
_CONFORMER_BLOCK = {
    "first_norm": "ffn1_layer_norm",
    "first_mlp/hidden": "ffn1.intermediate_dense",
    "first_mlp/output": "ffn1.output_dense",
    "attention_norm": "self_attn_layer_norm",
    "attention/query": "self_attn.linear_q",
    "attention/key": "self_attn.linear_k",
    "attention/value": "self_attn.linear_v",
    "attention/output": "self_attn.linear_out",
    "attention/relative_keys/table": "self_attn.distance_embedding",
    "convolution/norm": "conv_module.layer_norm",
    "convolution/expand": "conv_module.pointwise_conv1",
    "convolution/depthwise": "conv_module.depthwise_conv",
    "convolution/depthwise_norm": "conv_module.depthwise_layer_norm",
    "convolution/project": "conv_module.pointwise_conv2",
    "second_norm": "ffn2_layer_norm",
    "second_mlp/hidden": "ffn2.intermediate_dense",
    "second_mlp/output": "ffn2.output_dense",
    "final_norm": "final_layer_norm",
}

AUDIO_FAMILIES: dict[str, Family] = {
    "wav2vec2": Family(
        "Wav2Vec2Model",
        "wav2vec2.",
        {
            **_SPEECH_MODULES,
            **_POSITIONS,
            "emotion/hidden": "classifier.dense",
            "emotion/output": "classifier.out_proj",
        },
        _SPEECH_TENSORS,
        (*_SPEECH_HEADS, r"quantizer\..*", r"project_(hid|q)\..*"),
    ),
    "hubert": Family("HubertModel", "hubert.", {**_SPEECH_MODULES, **_POSITIONS}, _SPEECH_TENSORS, _SPEECH_HEADS),
    "wavlm": Family(
        "WavLMModel",
        "wavlm.",
        {
            **_SPEECH_MODULES,
            **_POSITIONS,
            **layers({"attention/gate/projection": "attention.gru_rel_pos_linear"}, "encoder.layers"),
            "relative_bias/table": "encoder.layers.0.attention.rel_attn_embed",
        },
        {
            **_SPEECH_TENSORS,
            **layers({"attention/gate/scale": "attention.gru_rel_pos_const"}, "encoder.layers"),
        },
        _SPEECH_HEADS,
    ),
    "data2vec-audio": Family(
        "Data2VecAudioModel",
        "data2vec_audio.",
        {**_SPEECH_MODULES, "positions/layers_{}": "encoder.pos_conv_embed.layers.{}.conv"},
        _MASKED,
        _SPEECH_HEADS,
    ),
    "whisper": Family(
        "WhisperModel",
        "model.",
        {
            "features/conv_{}": "encoder.conv{}",
            "norm": "encoder.layer_norm",
            **layers(_WHISPER_LAYER, "encoder.layers"),
        },
        {"positions": "encoder.embed_positions.weight"},
        (r"(model\.)?decoder\..*", r"proj_out\..*", *_SPEECH_HEADS),
    ),
    "wav2vec2-bert": Family(
        "Wav2Vec2BertModel",
        "wav2vec2_bert.",
        {
            "projection_norm": "feature_projection.layer_norm",
            "projection": "feature_projection.projection",
            **layers(_CONFORMER_BLOCK, "encoder.layers"),
        },
        _MASKED,
        _SPEECH_HEADS,
    ),
}
