"""Stage 2's head: temporal enhancers, Quality-Aware Module, decoder."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.comparison.twin.decoder import Decoder, Memory
from benchmarks.comparison.twin.towers import masked_mean

MODALITIES = ("vision", "audio", "text")
EPSILON = 1e-6


class TCN(nn.Module):
    """Residual blocks of two dilated convolutions, each with LayerNorm over the channels and GELU."""

    def __init__(self, width: int, dilations: tuple[int, ...] = (1, 2, 4, 8), dropout: float = 0.0):
        super().__init__()
        self.blocks = len(dilations)
        self.dropout = dropout
        for block, dilation in enumerate(dilations):
            for layer in range(2):
                conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
                self.add_module(f"block_{block}_conv_{layer}", conv)
                self.add_module(f"block_{block}_norm_{layer}", nn.LayerNorm(width, EPSILON))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Maps x [B, T, d] with mask bool [B, T] to [B, T, d], 0 on masked steps."""
        valid = mask[..., None].to(x.dtype)
        for block in range(self.blocks):
            y = x
            for layer in range(2):
                conv, norm = (getattr(self, f"block_{block}_{part}_{layer}") for part in ("conv", "norm"))
                y = F.gelu(norm(conv((y * valid).transpose(1, 2)).transpose(1, 2)))
                y = F.dropout(y, self.dropout, self.training)
            x = x + y
        return x * valid


class PaddedLSTM(nn.Module):
    """Two `nn.LSTM` on padded sequences, the backward one on clips reversed within their length.

    Packed sequences are slower: on the CPU they rule out oneDNN's kernel, and cuDNN takes longer over them on a GPU.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.forward_direction, self.backward_direction = (nn.LSTM(width, hidden, batch_first=True) for _ in range(2))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Maps x [B, T, D] with int [B], each at least 1, to [B, T, 2H], undefined beyond each length."""
        steps = torch.arange(x.shape[1], device=x.device)[None]
        reverse = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)[..., None]
        backward, _ = self.backward_direction(x.gather(1, reverse.expand(-1, -1, x.shape[2])))
        backward = backward.gather(1, reverse.expand(-1, -1, backward.shape[2]))
        return torch.cat([self.forward_direction(x)[0], backward], -1)


class GatedBiLSTM(nn.Module):
    """A bidirectional LSTM, its output mixed with its input by a gate.

    The second of PyTorch's two biases is fixed at zero.
    """

    def __init__(self, width: int, hidden: int, dropout: float = 0.0):
        super().__init__()
        self.lstm = PaddedLSTM(width, hidden)
        self.dropout = dropout
        self.output = nn.Linear(2 * hidden, width)
        self.gate = nn.Linear(width + 2 * hidden, width)
        for name, parameter in self.lstm.named_parameters():
            if "bias_hh" in name:
                nn.init.zeros_(parameter).requires_grad_(False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Maps x [B, T, d] with mask bool [B, T], padding last, to [B, T, d], 0 on masked steps."""
        h = F.dropout(self.lstm(x, mask.sum(1).clamp(min=1)), self.dropout, self.training)
        gate = torch.sigmoid(self.gate(torch.cat([x, h], -1)))
        return (gate * self.output(h) + (1 - gate) * x) * mask[..., None]


class QualityAware(nn.Module):
    """Weights the modalities of a clip, and the steps of each, by their estimated reliability."""

    def __init__(self, width: int):
        super().__init__()
        for name in MODALITIES:
            self.add_module(f"{name}_norm", nn.LayerNorm(width, EPSILON))
            for part, size in (("reliability", width), ("quality", 2 * width + 1)):
                self.add_module(f"{name}_{part}_hidden", nn.Linear(size, width))
                self.add_module(f"{name}_{part}_output", nn.Linear(width, 1))

    def forward(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """Weights {m: [B, t, d]} with masks {m: [B, t]}; returns weighted features, reliability logits and w [B, 3]."""
        dtype = self.text_norm.weight.dtype  # autocast leaves products in bfloat16; statistics use this dtype
        features = {name: y.to(dtype) for name, y in features.items()}
        logits, quality = {}, []
        for name, y in features.items():
            mask = masks[name]
            logits[name] = self._score(f"{name}_reliability", y)
            mean = masked_mean(y, mask)
            spread = (masked_mean((y - mean[:, None]) ** 2, mask) + 1e-6).sqrt()
            trust = masked_mean(torch.sigmoid(logits[name])[..., None], mask)
            score = self._score(f"{name}_quality", torch.cat([mean, spread, trust], -1))
            quality.append(score + trust[:, 0].clamp(min=1e-30).log())
        here = torch.stack([mask.any(1) for mask in masks.values()], -1)
        scores = torch.stack(quality, -1).masked_fill(~here, -1e9)
        weights = torch.softmax(scores, -1) * here
        factors = weights * here.sum(-1, keepdim=True)
        passed = {}
        for m, (name, y) in enumerate(features.items()):
            steps = factors[:, m, None] * torch.sigmoid(logits[name]) * masks[name]
            passed[name] = steps[..., None] * getattr(self, f"{name}_norm")(y)
        return passed, logits, weights

    def _score(self, name: str, x: Tensor) -> Tensor:
        return getattr(self, f"{name}_output")(F.gelu(getattr(self, f"{name}_hidden")(x))).squeeze(-1).to(x.dtype)


class Fusion(nn.Module):
    """Projection, temporal enhancers, quality weights and decoder: {m: [B, t, D]} to [B, K]."""

    def __init__(
        self,
        widths: Mapping[str, int],
        num_labels: int,
        width: int = 256,
        num_layers: int = 2,
        num_heads: int = 8,
        dropout: float = 0.1,
        tcn_dilations: tuple[int, ...] = (1, 2, 4, 8),
    ):
        super().__init__()
        for name in MODALITIES:
            self.add_module(f"{name}_projection", nn.Linear(widths[name], width))
        self.tcn = TCN(width, tcn_dilations, dropout)
        self.bilstm = GatedBiLSTM(width, width, dropout)
        self.quality = QualityAware(width)
        self.memory = Memory(width)
        self.decoder = Decoder(num_labels, width, num_layers, num_heads, dropout)
        self.dropout = dropout

    def forward(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor], present: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Predictions [B, K] in [0, 1], reliability logits {m: [B, t]} and modality weights [B, 3]."""
        valid = {name: masks[name] & present[:, m, None] for m, name in enumerate(MODALITIES)}
        enhanced = {}
        for name in MODALITIES:
            x = getattr(self, f"{name}_projection")(features[name] * valid[name][..., None])
            enhanced[name] = F.dropout(x, self.dropout, self.training)
        enhanced["vision"] = self.tcn(enhanced["vision"], valid["vision"])
        enhanced["audio"] = self.bilstm(enhanced["audio"], valid["audio"])
        weighted, logits, weights = self.quality(enhanced, valid)
        memory, mask = self.memory(weighted, valid)
        return torch.sigmoid(self.decoder(memory, mask)), logits, weights


def drop_modalities(present: Tensor, rate: float) -> Tensor:
    """Hides present modalities, bool [B, 3], at random, never the last one of a clip."""
    draw = torch.rand(present.shape, device=present.device)
    last = F.one_hot(torch.where(present, draw, -1).argmax(-1), present.shape[-1]).bool()
    return present & ((draw >= rate) | last)
