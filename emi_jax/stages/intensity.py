"""Stage 2: six intensities from the encoders' features."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from emi_jax import losses, metrics
from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION
from emi_jax.models.fusion import drop_modalities
from emi_jax.models.speech_features import audio_step_share
from emi_jax.models.towers import Towers
from emi_jax.stages.initialisation import init_towers
from emi_jax.train.mapping import AXIS
from emi_jax.train.step import Batch, Metrics

Features = tuple[dict[str, jax.Array], dict[str, jax.Array]]

CORRUPTED_SHARE = 0.5
"""A step counts as corrupted when more than this share of it is."""
FLAGS = {VISION: "frame", AUDIO: "audio", TEXT: "token"}


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the terms of the loss MSE + correlation * (1 - rho) + quality * BCE.

    Attributes:
        correlation: lambda; 0 is the paper's.
        quality: of the supervision of the step reliabilities; 0 is the paper's.
    """

    correlation: float = 0.1
    quality: float = 0.1


@dataclasses.dataclass(frozen=True)
class Intensity:
    """Trains the fusion on features of the towers, which are frozen unless they are named.

    Attributes:
        towers: the encoders.
        fusion: a head: (features, masks, present, deterministic) -> (predictions, extras).
        example: a batch of any size, for its shapes.
        label_names: the K names.
        trained_towers: modalities whose towers are trained, and so run with dropout.
        weights: of the terms of the loss.
        modality_dropout: chance that a present modality is hidden in training.
    """

    towers: Towers
    fusion: nn.Module
    example: Batch
    label_names: Sequence[str]
    trained_towers: Sequence[str] = ()
    weights: Weights = Weights()
    modality_dropout: float = 0.0
    goal: str = "mean/pearson"

    def init(self, rng: jax.Array, loaded: dict) -> dict:
        """All parameters: `towers` and `fusion`."""
        towers_rng, fusion_rng = jax.random.split(rng)
        towers = init_towers(self.towers, towers_rng, self.example, loaded, self._modalities())
        shapes = jax.eval_shape(functools.partial(self._encode, rng=None), towers, self.example)
        features, masks = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        fusion = self.fusion.init(fusion_rng, features, masks, self.example["present"], deterministic=True)["params"]
        return {"towers": towers, "fusion": fusion}

    def loss(self, params: dict, batch: Batch, rng: jax.Array) -> tuple[jax.Array, Metrics]:
        """MSE + lambda (1 - rho) + the supervision of the reliabilities, over the global batch."""
        towers_rng, drop_rng, fusion_rng = jax.random.split(rng, 3)
        features, masks = self._encode(params["towers"], batch, towers_rng)
        present = drop_modalities(drop_rng, batch["present"], self.modality_dropout)
        predictions, extras = self.fusion.apply(
            {"params": params["fusion"]}, features, masks, present, deterministic=False, rngs={"dropout": fusion_rng}
        )
        labels, known = batch["labels"], batch["label_mask"] & batch["valid"][:, None]
        error = _mean(losses.squared_error(predictions, labels, known))
        rho, defined = losses.pearson(predictions, labels, known, AXIS)
        rho = jnp.where(defined, rho, 0.0).sum() / jnp.maximum(defined.sum(), 1)
        correlation_loss = jnp.where(defined.any(), 1.0 - rho, 0.0)
        total = error + self.weights.correlation * correlation_loss
        parts = {"mse": error, "rho": rho}
        if self.weights.quality and extras["reliability_logits"]:
            parts["quality"] = self._quality_loss(extras["reliability_logits"], masks, present, batch)
            total += self.weights.quality * parts["quality"]
        return total, parts

    def forward(self, params: dict, batch: Batch) -> dict[str, jax.Array]:
        """Predictions [b, K], modality weights and effective shares [b, 3], whether there was anything to see [b]."""
        features, masks = self._encode(params["towers"], batch, rng=None)
        predictions, extras = self.fusion.apply(
            {"params": params["fusion"]}, features, masks, batch["present"], deterministic=True
        )
        return {"predictions": predictions} | {name: extras[name] for name in ("weights", "share", "informed")}

    def score(self, outputs: dict[str, np.ndarray], split: str) -> dict[str, float]:
        """Pearson, CCC and MSE of each label over the split, and their means over the labels that have one."""
        arrays = outputs["predictions"], outputs["labels"], outputs["label_mask"]
        scores: dict[str, float] = {}
        for name, metric in (("pearson", metrics.pearson), ("ccc", metrics.ccc), ("mse", metrics.mse)):
            values = metric(*arrays)
            scores |= {f"{label}/{name}": float(value) for label, value in zip(self.label_names, values, strict=True)}
            scores[f"mean/{name}"] = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
        return {name: value for name, value in scores.items() if np.isfinite(value)}

    def _encode(self, params: dict, batch: Batch, rng: jax.Array | None) -> Features:
        """Sequences [b, t, D] and their masks [b, t]; towers that are trained get dropout where there is an rng."""
        rngs = {} if rng is None else {"dropout": rng}
        encoded: dict[str, Any] = {}
        for modality in self._modalities():
            trains = rng is not None and modality in self.trained_towers
            encoded[modality] = self._tower(modality, params, batch, not trains, rngs)
        return {name: it[0] for name, it in encoded.items()}, {name: it[2] for name, it in encoded.items()}

    def _tower(self, modality: str, params: dict, batch: Batch, deterministic: bool, rngs: dict) -> Any:
        encoded: Any = self.towers.apply({"params": params}, batch, deterministic, (modality,), rngs=rngs)
        return encoded[modality]

    def _modalities(self) -> list[str]:
        return [name for name in MODALITIES if getattr(self.towers, name) is not None]

    def _quality_loss(
        self, logits: Mapping[str, jax.Array], masks: Mapping[str, jax.Array], present: jax.Array, batch: Batch
    ) -> jax.Array:
        terms = []
        for name, values in logits.items():
            clean, judged = (self._steps(name, batch[f"{FLAGS[name]}_{flag}"]) for flag in ("clean", "judged"))
            seen = present[:, MODALITIES.index(name)] & batch["valid"]
            judged = (judged > CORRUPTED_SHARE) & masks[name] & seen[:, None]
            terms.append(losses.reliability_loss(values, clean >= CORRUPTED_SHARE, judged))
        return jnp.mean(jnp.stack([_mean(term) for term in terms]))

    def _steps(self, modality: str, flags: jax.Array) -> jax.Array:
        """The share of each step for which a flag is set: audio flags are per sample, the others per step."""
        if modality == AUDIO and self.towers.audio:
            return audio_step_share(flags, self.towers.audio.encoder.config)
        return flags.astype(jnp.float32)


def _mean(term: tuple[jax.Array, jax.Array]) -> jax.Array:
    total, count = lax.psum(term, AXIS)
    return total / jnp.maximum(count, 1)
