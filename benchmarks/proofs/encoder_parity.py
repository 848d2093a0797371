"""Compares encoders of base size, and some larger ones, with transformers' PyTorch classes at random weights.

python -m benchmarks.proofs.encoder_parity

For each family a model of that size is made, saved as a Hugging Face folder and loaded by `emi_jax`; both run on
the same inputs in float32, with padding if PyTorch's model accepts a mask. Prints the largest difference,
as a fraction of the largest magnitude, over all hidden states and over the pooled vector.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.proofs.torch_encoders import Case, make_model, run_torch
from emi_jax.encoders.pretrained import load_encoder

TOLERANCE = 1e-4
NOISE = 0.01
"""Noise added to every weight, so that none, including biases and norms, keeps its initial value."""

_ROBERTA = {"pad_token_id": 1, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
_GTE = {
    **{"vocab_size": 30528, "type_vocab_size": 0, "pad_token_id": 0},
    "rope_parameters": {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 2 ** (1 / 32)},  # "ntk" by 2
}
_LARGE_SPEECH = {
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}
_WHISPER_BASE = {
    "d_model": 512,
    "encoder_layers": 6,
    "encoder_attention_heads": 8,
    "encoder_ffn_dim": 2048,
    "decoder_layers": 0,
    "decoder_attention_heads": 8,
}

FAMILIES = {
    "ViT-B/16": Case("vision", "ViTModel", "ViTConfig", {"image_size": 224}),
    "ViT-H/14": Case(
        "vision",
        "ViTModel",
        "ViTConfig",
        {
            "hidden_size": 1280,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "intermediate_size": 5120,
            "image_size": 224,
            "patch_size": 14,
        },
    ),
    "CLIP ViT-B/32, vision": Case("vision", "CLIPVisionModel", "CLIPVisionConfig", {"image_size": 224}),
    "CLIP ViT-L/14, vision": Case(
        "vision",
        "CLIPVisionModel",
        "CLIPVisionConfig",
        {
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "image_size": 224,
            "patch_size": 14,
        },
    ),
    "DINOv2-B/14": Case("vision", "Dinov2Model", "Dinov2Config", {"image_size": 224}),
    "DINOv2-B/14 with registers": Case(
        "vision", "Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", {"image_size": 224, "patch_size": 14}
    ),
    "DINOv3-B/16": Case(
        "vision",
        "DINOv3ViTModel",
        "DINOv3ViTConfig",
        {
            "hidden_size": 768,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "num_register_tokens": 4,
            "image_size": 224,
        },
    ),
    "SigLIP-B/16, vision": Case("vision", "SiglipVisionModel", "SiglipVisionConfig", {"image_size": 224}),
    "CLIP ViT-B/32, text": Case("text", "CLIPTextModel", "CLIPTextConfig", {"eos_token_id": 49407}),
    "BERT-base": Case("text", "BertModel", "BertConfig", {}),
    "RoBERTa-base": Case("text", "RobertaModel", "RobertaConfig", _ROBERTA),
    "XLM-RoBERTa-base": Case("text", "XLMRobertaModel", "XLMRobertaConfig", {**_ROBERTA, "vocab_size": 250002}),
    "DistilBERT-base": Case("text", "DistilBertModel", "DistilBertConfig", {}),
    "GTE-base, English": Case("text", "GteModel", "GteConfig", _GTE),
    "GTE-base, multilingual": Case("text", "GteModel", "GteConfig", {}),
    "ModernBERT-base": Case("text", "ModernBertModel", "ModernBertConfig", {}),
    "wav2vec2-base": Case("audio", "Wav2Vec2Model", "Wav2Vec2Config", {}, padded=False),
    "HuBERT-base": Case("audio", "HubertModel", "HubertConfig", {}, padded=False),
    "wav2vec2-large, audeering's emotion model": Case(
        "audio", "EmotionModel", "Wav2Vec2Config", {**_LARGE_SPEECH, "num_hidden_layers": 12, "num_labels": 3}
    ),
    "WavLM-base": Case("audio", "WavLMModel", "WavLMConfig", {}, padded=False),
    "WavLM-large": Case("audio", "WavLMModel", "WavLMConfig", {**_LARGE_SPEECH, "num_hidden_layers": 24}),
    "data2vec-audio-base": Case("audio", "Data2VecAudioModel", "Data2VecAudioConfig", {}, padded=False),
    "Whisper-base, encoder": Case("audio", "WhisperModel", "WhisperConfig", _WHISPER_BASE),
    "w2v-BERT 2.0, 12 of its 24 layers": Case(
        "audio", "Wav2Vec2BertModel", "Wav2Vec2BertConfig", {"num_hidden_layers": 12}
    ),
}


@dataclasses.dataclass(frozen=True)
class Parity:
    """The difference between two encoders, as a fraction of the largest magnitude.

    Attributes:
        parameters: number of scalars in the encoder.
        states: over the hidden states of all layers, on valid steps, relative to the magnitude of each state.
        pooled: over the pooled vectors; None if PyTorch's class has none.
    """

    parameters: int
    states: float
    pooled: float | None

    @property
    def agrees(self) -> bool:
        """Whether all differences are within `TOLERANCE`."""
        return max(self.states, self.pooled or 0.0) <= TOLERANCE


def make_inputs(case: Case, seed: int = 0) -> dict[str, np.ndarray]:
    """Two images, two texts (one padded), or three seconds of one voice (two voices, one padded)."""
    rng = np.random.default_rng(seed)
    if case.role == "vision":
        size = case.fields["image_size"]
        return {"inputs": rng.normal(size=(2, size, size, 3)).astype(np.float32)}
    if case.role == "text":
        longest = 64 if case.config.startswith("CLIP") else 192  # longer than ModernBERT's window
        mask = np.arange(longest)[None] < np.array([longest, 23])[:, None]
        tokens = np.where(mask, rng.integers(1000, 30000, mask.shape), case.fields.get("pad_token_id", 0))
        tokens[np.arange(2), mask.sum(1) - 1] = case.fields.get("eos_token_id", 102)
        return {"inputs": tokens, "mask": mask}
    if case.padded:
        mask = np.arange(48_000)[None] < np.array([48_000, 20_000])[:, None]
        return {"inputs": rng.normal(size=mask.shape).astype(np.float32) * mask, "mask": mask}
    return {"inputs": rng.normal(size=(1, 48_000)).astype(np.float32)}


def compare(case: Case, folder: Path) -> Parity:
    """Makes the case's model, saves it to a folder and compares both sets of outputs."""
    model, arrays = make_model(case, noise=NOISE), make_inputs(case)
    model.save_pretrained(folder)
    theirs = run_torch(model, **arrays)
    encoder: Any
    encoder, params = load_encoder(folder, case.role)
    run = jax.jit(lambda p, inputs, mask: encoder.apply({"params": p}, inputs, mask, output_hidden_states=True))
    _, pooled, states = run(params, arrays["inputs"], mask := arrays.get("mask"))
    valid = np.ones(states[0].shape[:2], bool)
    if mask is not None:
        valid = np.asarray(encoder.config.steps.mask(mask)) if case.role == "audio" else mask
    return Parity(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        states=max(  # Whisper's also holds the silence after the clips
            _difference(a[valid], b[:, : a.shape[1]][valid]) for a, b in zip(states, theirs["states"], strict=True)
        ),
        pooled=_difference(pooled, theirs["pooled"]) if "pooled" in theirs else None,
    )


def _difference(ours: jax.Array, theirs: np.ndarray) -> float:
    return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


def main() -> None:
    """Prints the table; fails if a family does not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    options = parser.parse_args()
    jax.config.update("jax_default_matmul_precision", "highest")  # GPUs would round the operands of float32 products
    print("| encoder | parameters | states | pooled |\n| --- | ---: | ---: | ---: |")
    failed = []
    for name in options.families:
        with tempfile.TemporaryDirectory() as folder:
            parity = compare(FAMILIES[name], Path(folder))
        pooled = "-" if parity.pooled is None else f"{parity.pooled:.1e}"
        print(f"| {name} | {parity.parameters:,} | {parity.states:.1e} | {pooled} |", flush=True)
        failed += [] if parity.agrees else [name]
    if failed:
        raise SystemExit(f"more than {TOLERANCE:g} of the largest magnitude apart: {', '.join(failed)}")


if __name__ == "__main__":
    main()
