"""Stage 2: six intensities from the encoders' features."""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emi_jax.inputs.standardisation import FARTHEST, Standardisation
from emi_jax.metrics import regression as metrics
from emi_jax.modalities import AUDIO, MODALITIES, STEPWISE, TEXT, VISION
from emi_jax.models.heads import Head, drop_modalities
from emi_jax.models.pooling import masked_mean
from emi_jax.models.readout import readouts_of
from emi_jax.models.statistics import pooled_statistics
from emi_jax.models.towers import Towers
from emi_jax.stages.initialisation import init_readouts, init_towers
from emi_jax.stages.intensity_loss import Weights, intensity_loss
from emi_jax.train.accumulation import Outputs
from emi_jax.train.step import Batch, Metrics

CORRUPTED_SHARE = 0.5
"""A step counts as corrupted if more than this share of it is."""
FLAGS = {VISION: "frame", AUDIO: "audio", TEXT: "token"}


@dataclasses.dataclass(frozen=True)
class Intensity:
    """Trains the fusion on features of the towers, which are frozen unless listed in `trained_towers`.

    Attributes:
        towers: the encoders.
        fusion: the head: (features, masks, times, present, deterministic) -> (predictions, extras).
        example: a batch of any size, for its shapes.
        label_names: the K label names.
        trained_towers: modalities whose towers are trained, at least in part. The others run without dropout,
            layerdrop and masking.
        weights: weights of the terms of the loss.
        modality_dropout: probability that a present modality is hidden in training.
        standardisation: of the features, by modality. A batch that holds `{modality}/{level}/mean` and `/deviation`
            [b, ...] brings its own, of the clips' subjects.
    """

    towers: Towers
    fusion: Head
    example: Batch
    label_names: Sequence[str]
    trained_towers: Collection[str] = ()
    weights: Weights = dataclasses.field(default_factory=Weights)
    modality_dropout: float = 0.0
    standardisation: Mapping[str, Standardisation] = dataclasses.field(default_factory=dict)
    goal: str = "mean/pearson"

    def init(self, rng: jax.Array, loaded: dict) -> dict:
        """All parameters: `towers`, `readouts` if a tower needs one, and `fusion`, float32."""
        towers_rng, fusion_rng = jax.random.split(rng)
        with_tower = [name for name in self._modalities() if getattr(self.towers, name)]
        towers = init_towers(self.towers, towers_rng, self.example, loaded, with_tower)
        params = {"towers": towers} | init_readouts(self.towers, towers, self.example, with_tower, "steps")
        return params | {"fusion": self._init_fusion(fusion_rng, params)}

    def outputs(self, params: dict, batch: Batch, rng: jax.Array) -> Outputs:
        """What the loss needs for each clip.

        Returns:
            `predictions` [b, K]; `present` bool [b, 3], without what modality dropout hides; and by modality
            `reliability_logits` [b, t], `clean` and `supervised` bool [b, t].
        """
        towers_rng, drop_rng, fusion_rng = jax.random.split(rng, 3)
        steps, statistics = self._read(params, batch, towers_rng)
        present = drop_modalities(drop_rng, self._seen(batch), self.modality_dropout)
        predictions, extras = self.fusion.apply(
            {"params": params["fusion"]},
            *_inputs(steps),
            present,
            deterministic=False,
            rngs={"dropout": fusion_rng},
            **statistics,
        )
        logits = extras["reliability_logits"]
        flags = {part: {name: steps[f"{name}/{part}"] for name in logits} for part in ("clean", "supervised")}
        found = {"predictions": predictions, "present": present, "reliability_logits": logits}
        return found | flags | {"unimodal": extras.get("unimodal", {})}

    def loss(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """The terms of `intensity_loss`, over the global batch."""
        return intensity_loss(self.weights, outputs, batch)

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
        """What a clip page shows: the outputs of `forward`, and `{modality}/` `reliability`, `mask`, `times` [b, t]."""
        steps, outputs = self._apply(params, batch)
        return outputs | steps

    def _apply(self, params: dict, batch: Batch) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        encoded, statistics = self._read(params, batch)
        features, masks, times = _inputs(encoded)
        predictions, extras = self.fusion.apply(
            {"params": params["fusion"]},
            features,
            masks,
            times,
            self._seen(batch),
            deterministic=True,
            **statistics,
        )
        steps = {f"{name}/reliability": values for name, values in extras["reliability"].items()}
        steps |= {f"{name}/mask": masks[name] for name in extras["reliability"]}
        steps |= {f"{name}/times": times[name] for name in extras["reliability"]}
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
            scores[f"mean/{name}"] = metrics.mean(values)
        return {name: value for name, value in scores.items() if np.isfinite(value)}

    def features(self, towers: dict, batch: Batch, modalities: Sequence[str]) -> dict[str, jax.Array]:
        """The steps of some modalities, as from `encode`."""
        return self.encode(towers, batch, modalities=modalities)

    def encode(
        self, params: dict, batch: Batch, rng: jax.Array | None = None, modalities: Sequence[str] | None = None
    ) -> dict[str, jax.Array]:
        """The steps of each modality: as the batch holds them, from a describer or the cache, else from the towers.

        Args:
            params: the parameters of the towers.
            batch: clips, or cached features.
            rng: given in training; trained towers then run with dropout.
            modalities: those to encode; None = all in use.

        Returns:
            For each modality `{modality}/features` float [b, t, D] (with a readout its states [b, t, ..., D]), and bool
            [b, t]: `{modality}/mask`, valid steps;
            `{modality}/clean`, not deliberately corrupted; `{modality}/supervised`, part of the quality supervision;
            and float32 [b, t] `{modality}/times`, seconds since the clip's start.
        """
        steps: dict[str, jax.Array] = {}
        for name in self._modalities() if modalities is None else modalities:
            if f"{name}/features" in batch:
                steps |= {f"{name}/{part}": batch[f"{name}/{part}"] for part in STEPWISE}
                continue
            trains = rng is not None and name in self.trained_towers
            rngs = {} if rng is None else {"dropout": rng}
            encoded: Any = self.towers.apply({"params": params}, batch, not trains, (name,), rngs=rngs)
            features, _, mask = encoded[name]
            clean, supervised = (self._shares(name, batch[f"{FLAGS[name]}_{flag}"]) for flag in ("clean", "supervised"))
            flags = mask, clean >= 1 - CORRUPTED_SHARE, mask & (supervised > CORRUPTED_SHARE)
            parts = features, *flags, self._times(name, batch, features.shape[1])
            steps |= dict(zip((f"{name}/{part}" for part in STEPWISE), parts, strict=True))
        return steps

    @property
    def _used(self) -> list[str]:
        """The modalities that the head reads, which may be fewer than those encoded."""
        return [name for name in MODALITIES if name in self.fusion.modalities]

    def _seen(self, batch: Batch) -> jax.Array:
        """Which modalities of each clip are present and read by the head, bool [b, 3]."""
        return batch["present"] & jnp.array([name in self.fusion.modalities for name in MODALITIES])[None, :]

    def _init_fusion(self, rng: jax.Array, params: dict) -> dict:
        def read() -> tuple[Any, Any]:
            steps = self._read_out(params, self.encode(params["towers"], self.example))
            return _inputs(steps), self._statistics(steps, {})

        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(read))
        return _draw(self.fusion, rng, *zeros, jnp.asarray(self.example["present"]))

    def _read(
        self, params: dict, batch: Batch, rng: jax.Array | None = None
    ) -> tuple[dict[str, jax.Array], dict[str, dict[str, jax.Array]]]:
        """The standardised steps, and the statistics for the head, as an argument by name."""
        steps = self._read_out(params, self.encode(params.get("towers", {}), batch, rng))
        return self._standardised(steps, batch), self._statistics(steps, batch)

    def _read_out(self, params: dict, steps: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The steps with the states of towers that need a readout replaced by features [b, t, D]."""
        readouts = readouts_of(self.towers)
        if not (states := {name: steps[f"{name}/features"] for name in self._modalities() if name in readouts.names}):
            return steps
        read: Any = readouts.apply({"params": params["readouts"]}, states, method="steps")
        return steps | {f"{name}/features": features for name, features in read.items()}

    def _standardised(self, steps: dict[str, jax.Array], batch: Batch) -> dict[str, jax.Array]:
        """The steps with standardised features, where they are standardised."""
        changed = {}
        for name in self._modalities() if getattr(self.fusion, "reads_sequences", True) else ():
            if moments := self._moments(name, "steps", batch):
                features = steps[f"{name}/features"].astype(jnp.float32)
                changed[f"{name}/features"] = _standardise(features, *(part[:, None] for part in moments))
        return steps | changed

    def _statistics(self, steps: dict[str, jax.Array], batch: Batch) -> dict[str, dict[str, jax.Array]]:
        """Standardised statistics of steps that are not standardised, for a head that reads them."""
        if not getattr(self.fusion, "statistics", False):
            return {}
        found = {}
        for name in self._used:
            pooled = batch.get(f"{name}/pooled")
            if pooled is None:
                pooled = pooled_statistics(steps[f"{name}/features"], steps[f"{name}/mask"])
            if moments := self._moments(name, "pooled", batch):
                pooled = _standardise(pooled, *moments)
            found[name] = pooled
        return {"statistics": found}

    def _moments(self, modality: str, level: str, batch: Batch) -> tuple[jax.Array, jax.Array] | None:
        """Mean and deviation, [b or 1, D], from the batch or of the run; None if features stay as they are."""
        if f"{modality}/{level}/mean" in batch:
            return batch[f"{modality}/{level}/mean"], batch[f"{modality}/{level}/deviation"]
        if modality not in self.standardisation:
            return None
        moments = getattr(self.standardisation[modality], level)
        return jnp.asarray(moments.mean)[None], jnp.asarray(moments.deviation)[None]

    def _modalities(self) -> list[str]:
        """The modalities in use, with a tower or with features in the batch."""
        return [name for name in MODALITIES if getattr(self.towers, name) or f"{name}/features" in self.example]

    def _times(self, modality: str, batch: Batch, steps: int) -> jax.Array:
        """The time of each step of a tower, seconds [b, t]: of a step of the voice, the middle of what it hears."""
        if modality == AUDIO and self.towers.audio:
            heard = self.towers.audio.encoder.config.steps.seconds(steps)[None]
            return batch["audio_start"][:, None] + batch["audio_tempo"][:, None] * heard
        return batch[f"{FLAGS[modality]}_times"]

    def _shares(self, modality: str, flags: jax.Array) -> jax.Array:
        """The share of each step for which a flag is set: audio flags are per sample, the others per step."""
        if modality == AUDIO and self.towers.audio:
            return self.towers.audio.encoder.config.steps.share(flags)
        return flags.astype(jnp.float32)


def _inputs(steps: Mapping[str, jax.Array]) -> tuple[dict[str, jax.Array], ...]:
    """Float32 features, masks and times by modality, as heads expect them."""
    names = [name for name in MODALITIES if f"{name}/mask" in steps]
    features = {name: steps[f"{name}/features"].astype(jnp.float32) for name in names}
    return features, *({name: steps[f"{name}/{part}"] for name in names} for part in ("mask", "times"))


@functools.partial(jax.jit, static_argnums=0)
def _draw(head: Head, rng: jax.Array, inputs: Any, statistics: Any, present: jax.Array) -> dict:
    """The random parameters of a head; traced once for each head and shape."""
    return head.init(rng, *inputs, present, deterministic=True, **statistics)["params"]


def _standardise(x: jax.Array, mean: jax.Array, deviation: jax.Array) -> jax.Array:
    return jnp.clip((x - mean) / deviation, -FARTHEST, FARTHEST)
