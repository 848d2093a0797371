"""The losses, as means over a batch."""

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(left: Tensor, right: Tensor, transcript: Tensor, valid: Tensor, scale: Tensor) -> Tensor:
    """Symmetric InfoNCE with equal transcripts as positives of each other: mean over the valid clips.

    Args:
        left: [B, P] unit vectors.
        right: [B, P] unit vectors of the same clips.
        transcript: int [B].
        valid: bool [B]; other clips are neither rows nor columns.
        scale: [], the inverse temperature.
    """
    logits = scale * left @ right.T
    both = valid[:, None] & valid[None, :]
    targets = ((transcript[:, None] == transcript[None, :]) & both).to(logits.dtype)
    targets = targets / targets.sum(1, keepdim=True).clamp(min=1)
    floor = torch.finfo(logits.dtype).min / 2
    rows = F.cross_entropy(logits.masked_fill(~valid[None, :], floor), targets, reduction="none")
    columns = F.cross_entropy(logits.T.masked_fill(~valid[None, :], floor), targets, reduction="none")
    return ((rows + columns) / 2 * valid).sum() / valid.sum().clamp(min=1)


def squared_error(pred: Tensor, labels: Tensor, known: Tensor) -> Tensor:
    """Mean squared error over the known entries of [B, K]."""
    return (((pred - labels) ** 2) * known).sum() / known.sum().clamp(min=1)


def pearson(pred: Tensor, labels: Tensor, known: Tensor) -> Tensor:
    """Mean over the labels of the correlation over the known entries of [B, K]."""
    count = known.sum(0).clamp(min=1)

    def centred(x: Tensor) -> Tensor:
        return (x - (x * known).sum(0) / count) * known

    p, y = centred(pred), centred(labels)
    power = (p**2).sum(0), (y**2).sum(0)
    defined, usable = power[1] > 0, (power[0] > 0) & (power[1] > 0)
    spread = torch.where(usable, power[0] * power[1], 1).sqrt()
    rho = torch.where(usable, (p * y).sum(0) / spread, 0)
    return rho.sum() / defined.sum().clamp(min=1)


def reliability(logits: Tensor, clean: Tensor, supervised: Tensor) -> Tensor:
    """Binary cross-entropy of [B, T] against "not corrupted": mean over the supervised steps."""
    loss = F.binary_cross_entropy_with_logits(logits, clean.to(logits.dtype), reduction="none")
    return (loss * supervised).sum() / supervised.sum().clamp(min=1)
