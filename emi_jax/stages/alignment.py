"""Stage 1: vision-text and audio-text contrastive alignment."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from emi_jax.losses import info_nce
from emi_jax.metrics.retrieval import retrieval
from emi_jax.modalities import MODALITIES, TEXT
from emi_jax.models.contrastive import ContrastiveModel, ContrastivePairs
from emi_jax.stages.initialisation import init_towers
from emi_jax.train.accumulation import Outputs
from emi_jax.train.mapping import AXIS
from emi_jax.train.step import Batch, Metrics


def both_present(batch: Mapping[str, Any], modality: str) -> Any:
    """Clips that take part in a pair, bool [b]: those that have its modality and words."""
    present = batch["present"]
    return batch["valid"] & present[:, MODALITIES.index(modality)] & present[:, MODALITIES.index(TEXT)]


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Trains the towers so that the face and the voice of a clip lie close to its words.

    Attributes:
        model: towers and pairs.
        example: a batch of any size, for its shapes.
        weights: of each pair's loss, by its modality. The pairs share the text tower: one that is learnt at once can
            keep the other from ever starting, unless it weighs less.
    """

    model: ContrastiveModel
    example: Batch
    weights: Mapping[str, float]
    goal: str = "mean/recall@5"

    def init(self, rng: jax.Array, loaded: dict) -> dict:
        """All parameters: `towers` and `pairs`."""
        towers_rng, pairs_rng = jax.random.split(rng)
        towers = init_towers(self.model.towers, towers_rng, self.example, loaded, (*self.model.modalities, TEXT))
        encode = functools.partial(self.model.apply, method="encode")
        encoded = jax.eval_shape(encode, {"params": {"towers": towers}}, self.example)
        clips = {modality: jnp.zeros(clip.shape) for modality, (_, clip, _) in encoded.items()}
        pairs = ContrastivePairs(self.model.modalities, self.model.width)
        return {"towers": towers, "pairs": pairs.init(pairs_rng, clips)["params"]}

    def outputs(self, params: dict, batch: Batch, rng: jax.Array) -> Outputs:
        """For each pair its embeddings [b, P] and, for each clip the same, its logit scale [b]."""
        embedded = self._embed(params, batch, deterministic=False, rngs={"dropout": rng})
        return {
            modality: (left, text, jnp.broadcast_to(scale, left.shape[:1]))
            for modality, (left, text, scale) in embedded.items()
        }

    def loss(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """Weighted mean over the pairs of the symmetric InfoNCE over the global batch, and each pair's own."""
        metrics = {}
        for modality, (left, text, scales) in outputs.items():
            scale = lax.pmean(scales.mean(), AXIS)
            terms = info_nce(left, text, batch["transcript"], both_present(batch, modality), scale, AXIS)
            rows, count = lax.psum(terms, AXIS)
            metrics[f"{modality}_text/loss"] = rows / jnp.maximum(count, 1)
            metrics[f"{modality}_text/logit_scale"] = scale
        total = sum(self.weights[modality] * metrics[f"{modality}_text/loss"] for modality in outputs)
        return total / sum(self.weights[modality] for modality in outputs), metrics

    def forward(self, params: dict, batch: Batch) -> dict[str, jax.Array]:
        """The embeddings of each pair, [b, P]."""
        embedded = self._embed(params, batch)
        return {
            f"{modality}/{side}": embedding
            for modality, (left, text, _) in embedded.items()
            for side, embedding in (("left", left), ("text", text))
        }

    def _embed(self, params: dict, batch: Batch, **options: Any) -> dict[str, tuple[jax.Array, jax.Array, jax.Array]]:
        return self.model.apply({"params": params}, batch, **options)  # type: ignore[return-value]

    def score(self, outputs: dict[str, np.ndarray], split: str) -> dict[str, float]:
        """Retrieval in all four directions beside chance, and their means over the directions."""
        scores: dict[str, float] = {}
        for modality in self.model.modalities:
            kept = both_present(outputs, modality)
            if not kept.any():
                continue
            left, text = outputs[f"{modality}/left"][kept], outputs[f"{modality}/text"][kept]
            result = retrieval(left, text, outputs["transcript"][kept], (modality, TEXT))
            scores |= {name.replace("chance/", f"chance_{modality}_{TEXT}/"): value for name, value in result.items()}
        means = {}
        for metric in ("recall@1", "recall@5"):
            recalls = [value for name, value in scores.items() if "_to_" in name and name.endswith(metric)]
            means[f"mean/{metric}"] = float(np.mean(recalls)) if recalls else 0.0
        return scores | means
