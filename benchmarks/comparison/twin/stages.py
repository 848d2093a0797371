"""Both training stages as modules that map a batch to its loss and parts."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.comparison.twin import losses
from benchmarks.comparison.twin.fusion import MODALITIES, Fusion, drop_modalities
from benchmarks.comparison.twin.towers import Pair, Towers

Batch = Mapping[str, Tensor]


class Alignment(nn.Module):
    """Stage 1: vision and audio each aligned with text."""

    def __init__(self, encoders: Mapping[str, Mapping[str, Any]], width: int, weights: Mapping[str, float]):
        super().__init__()
        self.weights = dict(weights)
        self.towers = Towers(encoders)
        sizes = {name: config.get("hidden_size", 768) for name, config in encoders.items()}
        self.pairs = nn.ModuleDict({name: Pair(name, (sizes[name], sizes["text"]), width) for name in weights})

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted mean of the pairs' losses, and the loss of each pair."""
        parts = {}
        for name, (left, text, scale) in self.embed(batch).items():
            present = batch["present"]
            valid = batch["valid"] & present[:, MODALITIES.index(name)] & present[:, MODALITIES.index("text")]
            parts[f"{name}_text/loss"] = losses.info_nce(left, text, batch["transcript"], valid, scale)
        total = sum(self.weights[name] * parts[f"{name}_text/loss"] for name in self.weights)
        return total / sum(self.weights.values()), parts

    def embed(self, batch: Batch) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
        """The unit vectors of modality and text [B, P] and the logit scale [], for each pair."""
        encoded = self.towers(batch, (*self.weights, "text"))
        return {name: pair(encoded[name][1], encoded["text"][1]) for name, pair in self.pairs.items()}


class Intensity(nn.Module):
    """Stage 2: the fusion on features of the frozen towers, or on cached features."""

    def __init__(
        self,
        encoders: Mapping[str, Mapping[str, Any]],
        fusion: Fusion,
        modality_dropout: float = 0.0,
        correlation: float = 0.1,
        quality: float = 0.1,
        trained_towers: Sequence[str] = (),
    ):
        super().__init__()
        self.towers, self.fusion = Towers(encoders), fusion
        self.modality_dropout, self.correlation, self.quality = modality_dropout, correlation, quality
        self.trained_towers = tuple(trained_towers)
        for name, tower in self.towers.named_children():
            tower.requires_grad_(name in self.trained_towers)

    def train(self, mode: bool = True) -> "Intensity":
        """Switches to training mode; frozen towers stay in evaluation mode, without dropout."""
        super().train(mode)
        for name, tower in self.towers.named_children():
            tower.train(mode and name in self.trained_towers)
        return self

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """MSE + lambda (1 - rho) + the supervision of the reliabilities, and the parts."""
        steps = self.encode(batch)
        present = drop_modalities(batch["present"], self.modality_dropout)
        features = self._features(steps)
        masks = {name: steps[f"{name}/mask"] for name in MODALITIES}
        predictions, logits, _ = self.fusion(features, masks, present)
        labels, known = batch["labels"], batch["label_mask"] & batch["valid"][:, None]
        parts = {
            "mse": losses.squared_error(predictions, labels, known),
            "rho": losses.pearson(predictions, labels, known),
        }
        supervised = {
            name: steps[f"{name}/supervised"] & (present[:, m] & batch["valid"])[:, None]
            for m, name in enumerate(MODALITIES)
        }
        terms = [losses.reliability(logits[name], steps[f"{name}/clean"], supervised[name]) for name in MODALITIES]
        parts["quality"] = torch.stack(terms).mean()
        return parts["mse"] + self.correlation * (1 - parts["rho"]) + self.quality * parts["quality"], parts

    def predict(self, batch: Batch) -> Tensor:
        """Predictions, [B, K]."""
        steps = self.encode(batch)
        return self.fusion(
            self._features(steps), {name: steps[f"{name}/mask"] for name in MODALITIES}, batch["present"]
        )[0]

    def _features(self, steps: Batch) -> dict[str, Tensor]:
        return {name: steps[f"{name}/features"].to(self.fusion.decoder.bias.dtype) for name in MODALITIES}

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """The steps of each modality and their flags, from the batch if it holds them, otherwise from the towers."""
        if "vision/features" in batch:
            return dict(batch)
        steps = {}
        for name, flag in (("vision", "frame"), ("audio", "audio"), ("text", "token")):
            with torch.set_grad_enabled(torch.is_grad_enabled() and name in self.trained_towers):
                features, _, mask = self.towers(batch, (name,))[name]
            clean, supervised = batch[f"{flag}_clean"], batch[f"{flag}_supervised"]
            if name == "audio":
                clean, supervised = (self.towers.audio.share(flags) for flags in (clean, supervised))
                clean, supervised = clean >= 0.5, supervised > 0.5
            steps |= {
                f"{name}/features": features,
                f"{name}/mask": mask,
                f"{name}/clean": clean,
                f"{name}/supervised": mask & supervised,
            }
        return steps
