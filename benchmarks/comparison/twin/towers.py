"""Towers around the encoder classes of transformers: from raw arrays to a sequence and a vector for each clip."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel

Encoded = tuple[Tensor, Tensor, Tensor]


def build_encoder(config: Mapping[str, Any]) -> nn.Module:
    """The Hugging Face model for a config dict with `model_type`, with SDPA attention and random weights."""
    fields = dict(config)
    return AutoModel.from_config(AutoConfig.for_model(fields.pop("model_type"), **fields), attn_implementation="sdpa")


class VisionTower(nn.Module):
    """Encodes each frame separately; pixels are normalised with mean and deviation 1/2."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, frames: Tensor, mask: Tensor) -> Encoded:
        """Maps frames uint8 [B, N, H, W, 3] with mask bool [B, N] to [B, N, D], [B, D] and the mask."""
        B, N = mask.shape
        dtype = self.encoder.dtype  # that of the parameters, not of autocast
        pixels = (frames.flatten(0, 1).permute(0, 3, 1, 2).to(dtype) / 255 - 0.5) / 0.5
        sequence = self.encoder(pixel_values=pixels).pooler_output.to(dtype).view(B, N, -1)
        return sequence, masked_mean(sequence, mask), mask


class AudioTower(nn.Module):
    """Encodes the voice, normalised to zero mean and unit variance per clip.

    PyTorch's group norm includes padding in its statistics: with `feat_extract_norm = "group"` results equal ours only
    if the audio has full length.
    """

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        self.width, self.stride = 1, 1
        for kernel, stride in zip(encoder.config.conv_kernel, encoder.config.conv_stride, strict=True):
            self.width, self.stride = self.width + (kernel - 1) * self.stride, self.stride * stride

    def forward(self, audio: Tensor, mask: Tensor) -> Encoded:
        """Maps audio int16 [B, S] with mask bool [B, S] to [B, T, D], [B, D] and the valid steps [B, T]."""
        dtype = self.encoder.dtype
        waveform, weight = audio.to(dtype) / 32768, mask.to(dtype)
        count = weight.sum(1, keepdim=True).clamp(min=1)
        centred = (waveform - (waveform * weight).sum(1, keepdim=True) / count) * weight
        waveform = centred * torch.rsqrt((centred**2).sum(1, keepdim=True) / count + 1e-7)
        # A clip without audio attends to its zeros, since attention without keys would be NaN.
        some = mask | ~mask.any(1, keepdim=True)
        sequence = self.encoder(waveform, attention_mask=some.long()).last_hidden_state.to(dtype)
        lengths = torch.div(mask.sum(1) - self.width, self.stride, rounding_mode="floor") + 1
        steps = torch.arange(sequence.shape[1], device=mask.device)[None] < lengths[:, None]
        return sequence, masked_mean(sequence, steps), steps

    def share(self, flags: Tensor) -> Tensor:
        """The share of samples flagged, bool [B, S], in the receptive field of each step: float32 [B, T]."""
        return F.avg_pool1d(flags.float()[:, None], self.width, self.stride)[:, 0]


class TextTower(nn.Module):
    """Encodes the transcript."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, tokens: Tensor, mask: Tensor) -> Encoded:
        """Maps tokens int [B, L] with mask bool [B, L] to [B, L, D], [B, D] and the mask."""
        some = mask | ~mask.any(1, keepdim=True)
        encoded = self.encoder(input_ids=tokens.long(), attention_mask=some.long())
        dtype = self.encoder.dtype
        return encoded.last_hidden_state.to(dtype), encoded.pooler_output.to(dtype), mask


class Towers(nn.Module):
    """All towers in one module."""

    INPUTS = {  # noqa: RUF012
        "vision": ("frames", "frame_mask"),
        "audio": ("audio", "audio_mask"),
        "text": ("tokens", "token_mask"),
    }

    def __init__(self, configs: Mapping[str, Mapping[str, Any]]):
        super().__init__()
        kinds = {"vision": VisionTower, "audio": AudioTower, "text": TextTower}
        for modality, config in configs.items():
            self.add_module(modality, kinds[modality](build_encoder(config)))

    def forward(self, batch: Mapping[str, Tensor], modalities: Sequence[str]) -> dict[str, Encoded]:
        """Encodes the named modalities of a batch: (sequence, clip, mask) of each."""
        return {
            modality: getattr(self, modality)(*(batch[name] for name in self.INPUTS[modality]))
            for modality in modalities
        }


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of x [B, T, D] over the steps where mask [B, T] is True; zeros if none is True."""
    weight = mask[..., None].to(x.dtype)
    return (x * weight).sum(1) / weight.sum(1).clamp(min=1)


def round_kernels(towers: nn.Module, dtype: torch.dtype) -> None:
    """Stores the kernels of frozen layers in `dtype`, which autocast would otherwise round in every step."""
    for module in towers.modules():
        kernel = getattr(module, "weight", None) if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d) else None
        if isinstance(kernel, nn.Parameter) and not kernel.requires_grad:  # with weight norm it is not a parameter
            kernel.data = kernel.data.to(dtype)


INITIAL_LOGIT_SCALE, MAX_LOGIT_SCALE = math.log(1 / 0.07), math.log(100)


class Pair(nn.Module):
    """Projections of a modality and of text to a common width, and a temperature."""

    def __init__(self, modality: str, widths: tuple[int, int], width: int):
        super().__init__()
        self.modality = modality
        self.add_module(f"{modality}_projection", nn.Linear(widths[0], width, bias=False))
        self.text_projection = nn.Linear(widths[1], width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))

    def forward(self, left: Tensor, text: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Unit vectors [B, P] of both, and the logit scale, clamped with the gradient passed through."""
        clamped = self.logit_scale + (self.logit_scale.clamp(max=MAX_LOGIT_SCALE) - self.logit_scale).detach()
        left, text = getattr(self, f"{self.modality}_projection")(left), self.text_projection(text)
        left, text = (F.normalize(x.to(clamped.dtype), dim=-1) for x in (left, text))
        return left, text, clamped.exp()
