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
    "positions": "encoder.pos_conv_embed.conv",
    "norm": "encoder.layer_norm",
}
_SPEECH_TENSORS = {
    "masked_spec_embed": "masked_spec_embed",
    "positions/magnitude": "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    "positions/direction": "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
}
_SPEECH_HEADS = (r"lm_head\..*", r"projector\..*", r"classifier\..*", "layer_weights", r"tdnn\..*", r"objective\..*")

AUDIO_FAMILIES: dict[str, Family] = {
    "wav2vec2": Family(
        "Wav2Vec2Model",
        "wav2vec2.",
        {**_SPEECH_MODULES, **layers(_SPEECH_LAYER, "encoder.layers")},
        _SPEECH_TENSORS,
        (*_SPEECH_HEADS, r"quantizer\..*", r"project_(hid|q)\..*"),
    ),
    "hubert": Family(
        "HubertModel",
        "hubert.",
        {**_SPEECH_MODULES, **layers(_SPEECH_LAYER, "encoder.layers")},
        _SPEECH_TENSORS,
        _SPEECH_HEADS,
    ),
}
