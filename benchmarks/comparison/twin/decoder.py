"""A pre-norm Transformer decoder: K learned queries read the weighted features."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPSILON = 1e-6


class Memory(nn.Module):
    """One learned token and the features with their modality and position, joined along time."""

    def __init__(self, width: int, modalities: tuple[str, ...] = ("vision", "audio", "text")):
        super().__init__()
        self.position_scale = nn.Parameter(torch.tensor(0.1))
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        for name in modalities:
            self.register_parameter(f"{name}_embedding", nn.Parameter(0.02 * torch.randn(1, 1, width)))
        self.register_buffer("positions", sinusoids(2048, width), persistent=False)

    def forward(self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Joins {m: [B, t, d]} to [B, 1 + sum of t, d] and their masks to bool [B, 1 + sum of t]."""
        B = next(iter(features.values())).shape[0]
        parts = [self.token.expand(B, -1, -1)]
        valid = [torch.ones(B, 1, dtype=torch.bool, device=self.token.device)]
        for name, x in features.items():
            place = getattr(self, f"{name}_embedding") + self.position_scale * self.positions[: x.shape[1]].to(x.dtype)
            parts.append(x + place)
            valid.append(masks[name])
        return torch.cat(parts, 1), torch.cat(valid, 1)


class Attention(nn.Module):
    """Multi-head attention by `F.scaled_dot_product_attention`."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Reads memory [B, S, d], with mask bool [B, S], from x [B, K, d]."""
        query, key, value = (
            layer(y).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer, y in ((self.query, x), (self.key, memory), (self.value, memory))
        )
        mask = None if mask is None else mask[:, None, None, :]
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(read.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.hidden, self.output = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [..., d] to [..., d]."""
        return self.output(F.gelu(self.hidden(x)))


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and MLP, each pre-norm with a residual."""

    def __init__(self, width: int, num_heads: int, dropout: float):
        super().__init__()
        self.self_norm, self.cross_norm, self.mlp_norm = (nn.LayerNorm(width, EPSILON) for _ in range(3))
        self.self_attention, self.cross_attention = (Attention(width, num_heads) for _ in range(2))
        self.mlp = MLP(width, 4 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Maps x [B, K, d] with memory [B, S, d] and mask bool [B, S] to [B, K, d]."""
        y = self.self_norm(x)
        x = x + self.dropout(self.self_attention(y, y))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), memory, mask))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Decoder(nn.Module):
    """Learned queries through layers that read the memory; then a classifier for each query."""

    def __init__(self, num_labels: int, width: int, num_layers: int, num_heads: int, dropout: float = 0.0):
        super().__init__()
        self.num_layers = num_layers
        self.queries = nn.Parameter(0.02 * torch.randn(1, num_labels, width))
        for index in range(num_layers):
            self.add_module(f"layers_{index}", DecoderLayer(width, num_heads, dropout))
        self.norm = nn.LayerNorm(width, EPSILON)
        self.kernel = nn.Parameter(torch.randn(num_labels, width) * width**-0.5)
        self.bias = nn.Parameter(torch.zeros(num_labels))

    def forward(self, memory: Tensor, mask: Tensor) -> Tensor:
        """Decodes memory [B, S, d] with mask bool [B, S] to logits [B, K]."""
        x = self.queries.expand(memory.shape[0], -1, -1)
        for index in range(self.num_layers):
            x = self.get_submodule(f"layers_{index}")(x, memory, mask)
        return (self.norm(x) * self.kernel).sum(-1) + self.bias


def sinusoids(length: int, width: int) -> Tensor:
    """Position embeddings, float64 [length, width]: sines in the first half of the channels, cosines in the second."""
    rates = 1e4 ** (-np.arange((width + 1) // 2) / (width / 2))
    angles = np.arange(length)[:, None] * rates
    table = np.concatenate([np.sin(angles), np.cos(angles)], 1)[:, :width]
    return torch.from_numpy(table)
