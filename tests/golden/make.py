"""Makes the golden files: tiny Hugging Face models with random weights, their inputs and what PyTorch computes.

Run from the repository's root where torch is installed: `python -m tests.golden.make [CASE ...]`. The tests also make
such models afresh with other weights.
"""

import logging
import sys
from pathlib import Path

import numpy as np

from benchmarks.proofs.torch_encoders import Case, make_model, run_torch

GOLDEN = Path(__file__).parent
_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
_DINOV2 = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "mlp_ratio": 2,
    "patch_size": 7,
    "layerscale_value": 0.7,
}
_TEXT = {**_SIZES, "vocab_size": 40, "max_position_embeddings": 12}
_LINEAR = {"rope_type": "linear", "factor": 1.5}
_MODERNBERT = {
    **_TEXT,
    **{"num_hidden_layers": 4, "local_attention": 4, "pad_token_id": 1},
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 160.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
    },
}
_SPEECH = {
    **_SIZES,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 8,
}
_LAYER_NORM = {"feat_extract_norm": "layer", "conv_bias": True, "mask_time_prob": 0.0}
_BUCKETS = {"num_buckets": 8, "max_bucket_distance": 5}  # so that 8 steps reach every kind of bucket


CASES = {
    "vit": Case("vision", "ViTModel", "ViTConfig", {**_SIZES, "image_size": (24, 16), "patch_size": 8}),
    "clip_vision": Case("vision", "CLIPVisionModel", "CLIPVisionConfig", {**_SIZES, "image_size": 16, "patch_size": 8}),
    "dinov2": Case("vision", "Dinov2Model", "Dinov2Config", {**_DINOV2, "image_size": 21}),
    "dinov2_gated": Case(
        "vision", "Dinov2Model", "Dinov2Config", {**_DINOV2, "image_size": 14, "use_swiglu_ffn": True}, golden=False
    ),
    "dinov2_with_registers": Case(
        "vision",
        "Dinov2WithRegistersModel",
        "Dinov2WithRegistersConfig",
        {**_DINOV2, "image_size": 21, "num_register_tokens": 3, "use_swiglu_ffn": True},
    ),
    "dinov3": Case(
        "vision",
        "DINOv3ViTModel",
        "DINOv3ViTConfig",
        {**_SIZES, "image_size": (24, 16), "patch_size": 8, "num_register_tokens": 3, "layerscale_value": 0.7},
    ),
    "dinov3_gated": Case(
        "vision",
        "DINOv3ViTModel",
        "DINOv3ViTConfig",
        {
            **_SIZES,
            "image_size": 16,
            "patch_size": 8,
            "num_register_tokens": 4,
            "use_gated_mlp": True,
            "hidden_act": "silu",
        },
        golden=False,
    ),
    "siglip_vision": Case(
        "vision", "SiglipVisionModel", "SiglipVisionConfig", {**_SIZES, "image_size": 24, "patch_size": 8}
    ),
    "bert": Case("text", "BertModel", "BertConfig", {**_TEXT, "hidden_act": "gelu_new"}),
    "clip_text": Case("text", "CLIPTextModel", "CLIPTextConfig", {**_TEXT, "bos_token_id": 1, "eos_token_id": 3}),
    "clip_text_legacy": Case(
        "text", "CLIPTextModel", "CLIPTextConfig", {**_TEXT, "bos_token_id": 0, "eos_token_id": 2}, golden=False
    ),
    "roberta": Case("text", "RobertaModel", "RobertaConfig", {**_TEXT, "type_vocab_size": 1, "layer_norm_eps": 1e-5}),
    "xlm_roberta": Case("text", "XLMRobertaModel", "XLMRobertaConfig", {**_TEXT, "type_vocab_size": 1}),
    "distilbert": Case(
        "text",
        "DistilBertModel",
        "DistilBertConfig",
        {
            **{"vocab_size": 40, "max_position_embeddings": 12, "pad_token_id": 1},
            **{"dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 24},
        },
    ),
    "gte": Case("text", "GteModel", "GteConfig", {**_TEXT, "rope_parameters": {**_LINEAR, "rope_theta": 100.0}}),
    "gte_without_types": Case("text", "GteModel", "GteConfig", {**_TEXT, "type_vocab_size": 0}, golden=False),
    "gte_two_types": Case("text", "GteModel", "GteConfig", {**_TEXT, "type_vocab_size": 2}, golden=False),
    "modernbert": Case("text", "ModernBertModel", "ModernBertConfig", _MODERNBERT),
    "modernbert_large": Case(
        "text", "ModernBertModel", "ModernBertConfig", {**_MODERNBERT, "num_hidden_layers": 7}, golden=False
    ),
    # PyTorch's group norm sees the padding, so these are compared on one whole clip.
    "wav2vec2": Case("audio", "Wav2Vec2Model", "Wav2Vec2Config", _SPEECH, padded=False),
    "hubert": Case("audio", "HubertModel", "HubertConfig", {**_SPEECH, "feat_proj_layer_norm": False}, padded=False),
    "wav2vec2_layer": Case("audio", "Wav2Vec2Model", "Wav2Vec2Config", {**_SPEECH, **_LAYER_NORM}, golden=False),
    "wav2vec2_stable": Case(
        "audio",
        "Wav2Vec2Model",
        "Wav2Vec2Config",
        {**_SPEECH, **_LAYER_NORM, "do_stable_layer_norm": True, "num_conv_pos_embeddings": 5},
    ),
    "hubert_stable": Case(
        "audio", "HubertModel", "HubertConfig", {**_SPEECH, **_LAYER_NORM, "do_stable_layer_norm": True}
    ),
    "wav2vec2_emotion": Case(
        "audio",
        "EmotionModel",
        "Wav2Vec2Config",
        {**_SPEECH, **_LAYER_NORM, "do_stable_layer_norm": True, "num_labels": 3},
    ),
    "wavlm": Case("audio", "WavLMModel", "WavLMConfig", {**_SPEECH, **_BUCKETS}, padded=False),
    "wavlm_stable": Case(
        "audio", "WavLMModel", "WavLMConfig", {**_SPEECH, **_BUCKETS, **_LAYER_NORM, "do_stable_layer_norm": True}
    ),
    "whisper": Case(
        "audio",
        "WhisperModel",
        "WhisperConfig",
        {
            "d_model": 16,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 24,
            "max_source_positions": 10,
            "decoder_layers": 0,
            "decoder_attention_heads": 4,
            "max_target_positions": 4,
            "vocab_size": 8,
            **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 0),
        },
    ),
    "wav2vec2_bert": Case(
        "audio",
        "Wav2Vec2BertModel",
        "Wav2Vec2BertConfig",
        {
            **_SIZES,
            "left_max_position_embeddings": 3,
            "right_max_position_embeddings": 1,
            "conv_depthwise_kernel_size": 5,
        },
    ),
    # PyTorch's positional convolutions see the padding.
    "data2vec_audio": Case(
        "audio",
        "Data2VecAudioModel",
        "Data2VecAudioConfig",
        {**_SPEECH, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5},
        padded=False,
    ),
}


def make_inputs(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs as our encoders take them: `inputs` and, with padding in play, `mask`."""
    rng = np.random.default_rng(seed)
    if case.role == "vision":
        size = case.fields["image_size"]
        height, width = (size, size) if isinstance(size, int) else size
        return {"inputs": rng.normal(size=(2, height, width, 3)).astype(np.float32)}
    if case.role == "text":
        lengths = np.array([9, 3, 6])
        mask = np.arange(9)[None] < lengths[:, None]
        tokens = np.where(mask, rng.integers(4, 39, mask.shape), 1)
        tokens[np.arange(3), lengths - 1] = 39 if case.fields.get("eos_token_id") == 2 else 3
        return {"inputs": tokens, "mask": mask}
    # Whisper's whole window; an even number of w2v-BERT's frames.
    longest, shortest = {"WhisperModel": (3200, 500), "Wav2Vec2BertModel": (2800, 600)}.get(case.model, (2600, 500))
    lengths = np.array([longest, 1700, shortest]) if case.padded else np.array([1700])
    mask = np.arange(lengths[0])[None] < lengths[:, None]
    waveform = rng.normal(size=mask.shape).astype(np.float32) * mask
    return {"inputs": waveform, "mask": mask} if case.padded else {"inputs": waveform}


def main() -> None:
    """Writes a folder for each case, or for those named: config.json, model.safetensors, golden.npz."""
    logging.basicConfig(level=logging.INFO)
    names = sys.argv[1:] or [name for name, case in CASES.items() if case.golden]
    for name in names:
        case = CASES[name]
        model, arrays = make_model(case), make_inputs(case)
        model.save_pretrained(GOLDEN / name)
        np.savez_compressed(GOLDEN / name / "golden.npz", **arrays, **run_torch(model, **arrays))
        logging.info("wrote %s", GOLDEN / name)


if __name__ == "__main__":
    main()
