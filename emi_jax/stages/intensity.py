"""Stage 2: six intensities from the encoders' features."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from emi_jax import losses, metrics
from emi_jax.inputs.features import STEPWISE
from emi_jax.modalities import AUDIO, MODALITIES, TEXT, VISION
from emi_jax.models.fusion import drop_modalities
from emi_jax.models.speech_features import audio_step_share
from emi_jax.models.towers import Towers
from emi_jax.stages.initialisation import init_towers
from emi_jax.train.mapping import AXIS
from emi_jax.train.step import Batch, Metrics

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
        shapes = jax.eval_shape(self.encode, towers, self.example)
        features, masks = _inputs(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))
        fusion = self.fusion.init(fusion_rng, features, masks, self.example["present"], deterministic=True)["params"]
        return {"towers": towers, "fusion": fusion}

    def loss(self, params: dict, batch: Batch, rng: jax.Array) -> tuple[jax.Array, Metrics]:
        """MSE + lambda (1 - rho) + the supervision of the reliabilities, over the global batch."""
        towers_rng, drop_rng, fusion_rng = jax.random.split(rng, 3)
        steps = self.encode(params["towers"], batch, towers_rng)
        features, masks = _inputs(steps)
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
            parts["quality"] = _quality_loss(extras["reliability_logits"], steps, present, batch["valid"])
            total += self.weights.quality * parts["quality"]
        return total, parts

    def forward(self, params: dict, batch: Batch) -> dict[str, jax.Array]:
        """Predictions [b, K], modality weights and effective shares [b, 3], whether there was anything to see [b]."""
        features, masks = _inputs(self.encode(params["towers"], batch))
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

    def encode(self, params: dict, batch: Batch, rng: jax.Array | None = None) -> dict[str, jax.Array]:
        """The steps of each modality, from the towers or, where the batch holds them, from the feature cache.

        Args:
            params: of the towers.
            batch: clips, or cached features.
            rng: in training; towers that are trained then run with dropout.

        Returns:
            For each modality `{modality}/features` float [b, t, D], and bool [b, t]: `{modality}/mask`, valid steps;
            `{modality}/clean`, not corrupted on purpose; `{modality}/judged`, part of the quality supervision.
        """
        steps: dict[str, jax.Array] = {}
        for name in self._modalities():
            if f"{name}/features" in batch:
                steps |= {f"{name}/{part}": batch[f"{name}/{part}"] for part in STEPWISE}
                continue
            trains = rng is not None and name in self.trained_towers
            rngs = {} if rng is None else {"dropout": rng}
            encoded: Any = self.towers.apply({"params": params}, batch, not trains, (name,), rngs=rngs)
            features, _, mask = encoded[name]
            clean, judged = (self._shares(name, batch[f"{FLAGS[name]}_{flag}"]) for flag in ("clean", "judged"))
            flags = mask, clean >= 1 - CORRUPTED_SHARE, mask & (judged > CORRUPTED_SHARE)
            steps |= dict(zip((f"{name}/{part}" for part in STEPWISE), (features, *flags), strict=True))
        return steps

    def _modalities(self) -> list[str]:
        return [name for name in MODALITIES if getattr(self.towers, name) is not None]

    def _shares(self, modality: str, flags: jax.Array) -> jax.Array:
        """The share of each step for which a flag is set: audio flags are per sample, the others per step."""
        if modality == AUDIO and self.towers.audio:
            return audio_step_share(flags, self.towers.audio.encoder.config)
        return flags.astype(jnp.float32)


def _inputs(steps: Mapping[str, jax.Array]) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Features, float32, and masks by modality, as heads take them."""
    names = [name for name in MODALITIES if f"{name}/mask" in steps]
    features = {name: steps[f"{name}/features"].astype(jnp.float32) for name in names}
    return features, {name: steps[f"{name}/mask"] for name in names}


def _quality_loss(
    logits: Mapping[str, jax.Array], steps: Mapping[str, jax.Array], present: jax.Array, valid: jax.Array
) -> jax.Array:
    terms = []
    for name, values in logits.items():
        seen = present[:, MODALITIES.index(name)] & valid
        judged = steps[f"{name}/judged"] & seen[:, None]
        terms.append(_mean(losses.reliability_loss(values, steps[f"{name}/clean"], judged)))
    return jnp.mean(jnp.stack(terms))


def _mean(term: tuple[jax.Array, jax.Array]) -> jax.Array:
    total, count = lax.psum(term, AXIS)
    return total / jnp.maximum(count, 1)
