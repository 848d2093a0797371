"""What PyTorch's audio encoders read and how their steps are pooled, by the feature extractors of `transformers`."""

from typing import Any

import numpy as np

RATE = 16_000


def read_clips(model: Any, waveform: np.ndarray, mask: np.ndarray | None) -> dict[str, np.ndarray]:
    """The arguments of a model for clips.

    Args:
        model: an audio encoder of transformers.
        waveform: float32 `[B, S]`.
        mask: bool `[B, S]`, whose padding comes last; None = no padding.
    """
    kind = model.config.model_type
    if kind not in EXTRACTORS:
        return {"input_values": waveform} | ({} if mask is None else {"attention_mask": mask.astype(np.int64)})
    clips = list(waveform) if mask is None else [clip[valid] for clip, valid in zip(waveform, mask, strict=True)]
    found = EXTRACTORS[kind](model.config, clips)
    return {name: np.asarray(found[name]) for name in ("input_features", "attention_mask")}


def _whisper(config: Any, clips: list[np.ndarray]) -> Any:
    import transformers

    extractor = transformers.WhisperFeatureExtractor(feature_size=config.num_mel_bins)
    window = 2 * config.max_source_positions * extractor.hop_length
    return extractor(clips, sampling_rate=RATE, max_length=window, return_attention_mask=True, return_tensors="np")


def _wav2vec2_bert(config: Any, clips: list[np.ndarray]) -> Any:
    import transformers

    return transformers.SeamlessM4TFeatureExtractor(padding_value=1)(clips, sampling_rate=RATE, return_tensors="np")


EXTRACTORS = {"whisper": _whisper, "wav2vec2-bert": _wav2vec2_bert}


def pool_steps(model: Any, sequence: np.ndarray, arguments: dict[str, np.ndarray]) -> np.ndarray:
    """The mean `[B, D]` of the steps of sequence `[B, T, D]` that transformers says are valid."""
    import torch

    steps, mask = sequence.shape[1], arguments.get("attention_mask")
    if mask is None:
        return sequence.mean(1)
    if model.config.model_type == "whisper":
        valid = mask[:, ::2]
    elif model.config.model_type == "wav2vec2-bert":
        valid = mask
    else:
        valid = model._get_feature_vector_attention_mask(steps, torch.tensor(mask)).numpy()
    return (sequence * valid[:, :, None]).sum(1) / valid.sum(1, keepdims=True)


def emotion_model(config: Any) -> Any:
    """The emotion model audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim of the Hugging Face hub, as published.

    Its outputs are joined to the hidden states as the winners of the EMI challenge do: at each step and for the mean.
    """
    import torch
    import transformers

    class Head(torch.nn.Module):
        def __init__(self, config: Any):
            super().__init__()
            self.dense = torch.nn.Linear(config.hidden_size, config.hidden_size)
            self.out_proj = torch.nn.Linear(config.hidden_size, config.num_labels)

        def forward(self, features: Any) -> Any:
            return self.out_proj(torch.tanh(self.dense(features)))

    class EmotionModel(transformers.Wav2Vec2PreTrainedModel):
        def __init__(self, config: Any):
            super().__init__(config)
            self.wav2vec2 = transformers.Wav2Vec2Model(config)
            self.classifier = Head(config)
            self.post_init()

        def forward(self, input_values: Any, attention_mask: Any = None, **options: Any) -> Any:
            output = self.wav2vec2(input_values, attention_mask, **options)
            hidden = output.last_hidden_state
            valid = torch.ones(hidden.shape[:2], dtype=torch.bool)
            if attention_mask is not None:
                valid = self._get_feature_vector_attention_mask(hidden.shape[1], attention_mask)
            pooled = (hidden * valid[:, :, None]).sum(1) / valid.sum(1, keepdim=True)
            output.last_hidden_state = torch.cat([hidden, self.classifier(hidden)], -1)
            output.pooler_output = torch.cat([pooled, self.classifier(pooled)], -1)
            return output

    return EmotionModel(config)
