"""The demo's encoders: their `config.json` by modality. They are small enough to start from scratch on two cores."""

from typing import Any

from emi_jax.modalities import AUDIO, TEXT, VISION

DEMO_ENCODERS: dict[str, dict[str, Any]] = {
    VISION: {
        "model_type": "vit",
        "hidden_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 384,
        "image_size": 48,
        "patch_size": 12,
        "initializer_range": 0.15,  # 0.02 is for a width of 768: at 96 the features hardly leave zero
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    },
    AUDIO: {
        "model_type": "wav2vec2",
        "hidden_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 192,
        "initializer_range": 0.1,
        "conv_dim": (32, 48, 64, 64),
        "conv_kernel": (40, 8, 8, 8),
        "conv_stride": (20, 4, 4, 4),
        "num_conv_pos_embeddings": 32,
        "num_conv_pos_embedding_groups": 8,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "feat_proj_dropout": 0.0,
        "layerdrop": 0.0,
        "apply_spec_augment": False,
    },
    TEXT: {
        "model_type": "bert",
        "vocab_size": 600,  # at most; the tokenizer is trained on the transcripts
        "hidden_size": 192,  # at 96 alignment leaves too little room for the words themselves
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 384,
        "max_position_embeddings": 64,
        "initializer_range": 0.1,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
    },
}
