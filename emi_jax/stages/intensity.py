"""Stage 2: six intensities from the encoders' features."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from emi_jax import losses
from emi_jax.metrics import regression as metrics
from emi_jax.modalities import AUDIO, MODALITIES, STEPWISE, TEXT, VISION
from emi_jax.models.heads import Head, drop_modalities
from emi_jax.models.pooling import masked_mean
from emi_jax.models.speech_features import audio_step_share
from emi_jax.models.towers import Towers
from emi_jax.stages.initialisation import init_towers
from emi_jax.train.accumulation import Outputs
from emi_jax.train.mapping import AXIS
from emi_jax.train.step import Batch, Metrics

CORRUPTED_SHARE = 0.5
"""A step counts as corrupted if more than this share of it is."""
FLAGS = {VISION: "frame", AUDIO: "audio", TEXT: "token"}


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the terms of the loss mse * MSE + correlation * (1 - rho) + ccc * (1 - CCC) + quality * BCE.

    Attributes:
        mse: weight of the mean squared error.
        correlation: lambda; 0 in the paper.
        ccc: weight of the concordance correlation, sometimes used instead of the squared error.
        quality: weight of the supervision of the step reliabilities; 0 in the paper.
    """

    mse: float = 1.0
    correlation: float = 0.1
    ccc: float = 0.0
    quality: float = 0.1


@dataclasses.dataclass(frozen=True)
class Intensity:
    """Trains the fusion on features of the towers, which are frozen unless listed in `trained_towers`.

    Attributes:
        towers: the encoders.
        fusion: the head: (features, masks, present, deterministic) -> (predictions, extras).
        example: a batch of any size, for its shapes.
        label_names: the K label names.
        trained_towers: modalities whose towers are trained, at least in part. The others run without dropout,
            layerdrop and masking.
        weights: weights of the terms of the loss.
        modality_dropout: probability that a present modality is hidden in training.
    """

    towers: Towers
    fusion: Head
    example: Batch
    label_names: Sequence[str]
    trained_towers: Collection[str] = ()
    weights: Weights = Weights()
    modality_dropout: float = 0.0
    goal: str = "mean/pearson"

    def init(self, rng: jax.Array, loaded: dict) -> dict:
        """All parameters: `towers` and `fusion`, float32."""
        towers_rng, fusion_rng = jax.random.split(rng)
        towers = init_towers(self.towers, towers_rng, self.example, loaded, self._modalities())
        return {"towers": towers, "fusion": jax.jit(lambda rng: self._init_fusion(rng, towers))(fusion_rng)}

    def outputs(self, params: dict, batch: Batch, rng: jax.Array) -> Outputs:
        """What the loss needs for each clip.

        Returns:
            `predictions` [b, K]; `present` bool [b, 3], without what modality dropout hides; and by modality
            `reliability_logits` [b, t], `clean` and `supervised` bool [b, t].
        """
        towers_rng, drop_rng, fusion_rng = jax.random.split(rng, 3)
        steps = self.encode(params["towers"], batch, towers_rng)
        features, masks = _inputs(steps)
        present = drop_modalities(drop_rng, self._seen(batch), self.modality_dropout)
        predictions, extras = self.fusion.apply(
            {"params": params["fusion"]}, features, masks, present, deterministic=False, rngs={"dropout": fusion_rng}
        )
        logits = extras["reliability_logits"]
        flags = {part: {name: steps[f"{name}/{part}"] for name in logits} for part in ("clean", "supervised")}
        return {"predictions": predictions, "present": present, "reliability_logits": logits} | flags

    def loss(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """MSE + lambda (1 - rho) + the supervision of the reliabilities, over the global batch."""
        predictions = outputs["predictions"]
        labels, known = batch["labels"], batch["label_mask"] & batch["valid"][:, None]
        error = _mean(losses.squared_error(predictions, labels, known))
        rho, lost = _mean_correlation(losses.pearson, predictions, labels, known)
        total = self.weights.mse * error + self.weights.correlation * lost
        parts = {"mse": error, "rho": rho}
        if self.weights.ccc:
            parts["ccc"], lost = _mean_correlation(losses.ccc, predictions, labels, known)
            total += self.weights.ccc * lost
        if self.weights.quality and outputs["reliability_logits"]:
            parts["quality"] = _quality_loss(outputs, batch["valid"])
            total += self.weights.quality * parts["quality"]
        return total, parts

    def forward(self, params: dict, batch: Batch) -> dict[str, jax.Array]:
        """What scores and reports need for each clip.

        Returns:
            `predictions` [b, K]; `weights`, `share` and `reliability` [b, 3], modality weights, effective shares and
            mean step reliabilities; `informed` bool [b], whether the clip had any valid input.
        """
        steps, outputs = self._apply(params, batch)
        means = {
            name: masked_mean(steps[f"{name}/reliability"][..., None], steps[f"{name}/mask"]) for name in self._used
        }
        nothing = jnp.zeros(batch["valid"].shape)
        trust = [means[name][:, 0] if name in means else nothing for name in MODALITIES]
        return outputs | {"reliability": jnp.stack(trust, axis=-1)}

    def explain(self, params: dict, batch: Batch) -> dict[str, jax.Array]:
        """What a clip page shows: the outputs of `forward`, and `{modality}/reliability` and `/mask` [b, t]."""
        steps, outputs = self._apply(params, batch)
        return outputs | steps

    def _apply(self, params: dict, batch: Batch) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        features, masks = _inputs(self.encode(params["towers"], batch))
        predictions, extras = self.fusion.apply(
            {"params": params["fusion"]}, features, masks, self._seen(batch), deterministic=True
        )
        steps = {f"{name}/reliability": values for name, values in extras["reliability"].items()}
        steps |= {f"{name}/mask": masks[name] for name in extras["reliability"]}
        return steps, {"predictions": predictions} | {name: extras[name] for name in ("weights", "share", "informed")}

    def score(self, outputs: dict[str, np.ndarray], split: str) -> dict[str, float]:
        """Pearson, CCC and MSE of each label over the split, and the means over the labels where they are defined."""
        arrays = outputs["predictions"], outputs["labels"], outputs["label_mask"]
        scores: dict[str, float] = {}
        for name, metric in (("pearson", metrics.pearson), ("ccc", metrics.ccc), ("mse", metrics.mse)):
            values = metric(*arrays)
            scores |= {
                f"label/{label}/{name}": float(value) for label, value in zip(self.label_names, values, strict=True)
            }
            scores[f"mean/{name}"] = float(np.nanmean(values)) if np.isfinite(values).any() else 0.0
        return {name: value for name, value in scores.items() if np.isfinite(value)}

    def encode(self, params: dict, batch: Batch, rng: jax.Array | None = None) -> dict[str, jax.Array]:
        """The steps of each modality, from the feature cache if the batch holds them, otherwise from the towers.

        Args:
            params: the parameters of the towers.
            batch: clips, or cached features.
            rng: given in training; trained towers then run with dropout.

        Returns:
            For each modality `{modality}/features` float [b, t, D], and bool [b, t]: `{modality}/mask`, valid steps;
            `{modality}/clean`, not deliberately corrupted; `{modality}/supervised`, part of the quality supervision.
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
            clean, supervised = (self._shares(name, batch[f"{FLAGS[name]}_{flag}"]) for flag in ("clean", "supervised"))
            flags = mask, clean >= 1 - CORRUPTED_SHARE, mask & (supervised > CORRUPTED_SHARE)
            steps |= dict(zip((f"{name}/{part}" for part in STEPWISE), (features, *flags), strict=True))
        return steps

    @property
    def _used(self) -> list[str]:
        """The modalities that the head reads, which may be fewer than those encoded."""
        return [name for name in MODALITIES if name in self.fusion.modalities]

    def _seen(self, batch: Batch) -> jax.Array:
        """Which modalities of each clip are present and read by the head, bool [b, 3]."""
        return batch["present"] & jnp.array([name in self.fusion.modalities for name in MODALITIES])[None, :]

    def _init_fusion(self, rng: jax.Array, towers: dict) -> dict:
        shapes = jax.eval_shape(self.encode, towers, self.example)
        features, masks = _inputs(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes))
        return self.fusion.init(rng, features, masks, self.example["present"], deterministic=True)["params"]

    def _modalities(self) -> list[str]:
        return [name for name in MODALITIES if getattr(self.towers, name) is not None]

    def _shares(self, modality: str, flags: jax.Array) -> jax.Array:
        """The share of each step for which a flag is set: audio flags are per sample, the others per step."""
        if modality == AUDIO and self.towers.audio:
            return audio_step_share(flags, self.towers.audio.encoder.config)
        return flags.astype(jnp.float32)


def _inputs(steps: Mapping[str, jax.Array]) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
    """Float32 features and masks by modality, as heads expect them."""
    names = [name for name in MODALITIES if f"{name}/mask" in steps]
    features = {name: steps[f"{name}/features"].astype(jnp.float32) for name in names}
    return features, {name: steps[f"{name}/mask"] for name in names}


def _quality_loss(outputs: Outputs, valid: jax.Array) -> jax.Array:
    terms = []
    for name, logits in outputs["reliability_logits"].items():
        seen = outputs["present"][:, MODALITIES.index(name)] & valid
        supervised = outputs["supervised"][name] & seen[:, None]
        terms.append(_mean(losses.reliability_loss(logits, outputs["clean"][name], supervised)))
    return jnp.mean(jnp.stack(terms))


def _mean_correlation(
    correlation: Callable[..., tuple[jax.Array, jax.Array]], predictions: jax.Array, labels: jax.Array, known: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean correlation over the labels where it is defined, and the loss 1 - mean; 0 if it is defined for none."""
    values, defined = correlation(predictions, labels, known, AXIS)
    mean = jnp.where(defined, values, 0.0).sum() / jnp.maximum(defined.sum(), 1)
    return mean, jnp.where(defined.any(), 1.0 - mean, 0.0)


def _mean(term: tuple[jax.Array, jax.Array]) -> jax.Array:
    total, count = lax.psum(term, AXIS)
    return total / jnp.maximum(count, 1)
