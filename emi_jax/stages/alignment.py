"""Stage 1: vision-text and audio-text contrastive alignment."""

import dataclasses
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from emi_jax.losses import info_nce, sigmoid_contrast
from emi_jax.metrics.retrieval import retrieval
from emi_jax.modalities import MODALITIES, TEXT
from emi_jax.models.contrastive import SIGMOID, ContrastiveModel, ContrastivePairs, Embedded
from emi_jax.models.readout import readouts_of
from emi_jax.stages.initialisation import init_readouts, init_towers
from emi_jax.train.accumulation import Outputs
from emi_jax.train.mapping import AXIS
from emi_jax.train.step import Batch, Metrics

Embeddings = dict[str, tuple[Embedded, jax.Array]]
"""By modality: the embeddings of its pair, and, bool [b], whether a clip has both."""


@dataclasses.dataclass(frozen=True)
class Alignment:
    """Trains the towers so that the face and the voice of a clip lie close to its words.

    Attributes:
        model: the towers and the pairs.
        example: a batch of any size, for its shapes.
        weights: weight of each pair's loss, by modality. The pairs share the text tower, so an easy pair can keep the
            other from learning at all unless its weight is lower.
        trained_towers: modalities whose towers are trained, at least in part. The others run without dropout,
            layerdrop and masking.
    """

    model: ContrastiveModel
    example: Batch
    weights: Mapping[str, float]
    trained_towers: Collection[str] = MODALITIES
    goal: str = "mean/recall@5"

    def init(self, rng: jax.Array, loaded: dict) -> dict:
        """All parameters: `towers`, `readouts` if a tower needs one, and `pairs`, float32."""
        towers_rng, pairs_rng = jax.random.split(rng)
        modalities = (*self.model.modalities, TEXT)
        towers = init_towers(self.model.towers, towers_rng, self.example, loaded, modalities)
        params = {"towers": towers} | init_readouts(self.model.towers, towers, self.example, modalities, "vectors")
        encoded = jax.eval_shape(functools.partial(self.model.apply, method="encode"), {"params": params}, self.example)
        clips = {modality: jnp.zeros(clip.shape) for modality, (clip, _) in encoded.items()}
        pairs = ContrastivePairs(self.model.modalities, self.model.width, loss=self.model.loss)
        return params | {"pairs": pairs.init(pairs_rng, clips)["params"]}

    def outputs(self, params: dict, batch: Batch, rng: jax.Array) -> Outputs:
        """For each pair: its embeddings, scale and bias repeated [b], and which clips have both, bool [b]."""
        embedded = self._embed(params, batch, self.trained_towers, rngs={"dropout": rng})
        return {modality: (_repeated(pair, both.shape), both) for modality, (pair, both) in embedded.items()}

    def loss(self, outputs: Outputs, batch: Batch) -> tuple[jax.Array, Metrics]:
        """Weighted mean over the pairs of their contrastive loss over the global batch, and the loss of each pair."""
        metrics = {}
        for modality, (pair, both) in outputs.items():
            valid = batch["valid"] & both
            scale = lax.pmean(pair.scale.mean(), AXIS)
            if self.model.loss == SIGMOID:
                bias = lax.pmean(pair.bias.mean(), AXIS)
                terms = sigmoid_contrast(pair.left, pair.text, batch["transcript"], valid, scale, bias, AXIS)
                metrics[f"{modality}_text/logit_bias"] = bias
            else:
                terms = info_nce(pair.left, pair.text, batch["transcript"], valid, scale, AXIS)
            rows, count = lax.psum(terms, AXIS)
            metrics[f"{modality}_text/loss"] = rows / jnp.maximum(count, 1)
            metrics[f"{modality}_text/logit_scale"] = scale
        total = sum(self.weights[modality] * metrics[f"{modality}_text/loss"] for modality in outputs)
        return total / sum(self.weights[modality] for modality in outputs), metrics

    def forward(self, params: dict, batch: Batch) -> dict[str, jax.Array]:
        """For each pair its embeddings `{modality}/left` and `/text` [b, P], and `/both`, bool [b]."""
        outputs: dict[str, jax.Array] = {}
        for modality, (pair, both) in self._embed(params, batch).items():
            outputs |= {f"{modality}/left": pair.left, f"{modality}/text": pair.text}
            outputs[f"{modality}/both"] = both & batch["valid"]
        return outputs

    def _embed(self, params: dict, batch: Batch, trained: Collection[str] = (), **options: Any) -> Embeddings:
        """Embeds both sides of each pair.

        A clip has a modality if its tower yields at least one valid step; very short audio may yield none.
        """

        def embed(model: ContrastiveModel, batch: Batch) -> Embeddings:
            encoded = model.encode(batch, trained)
            pairs = model.project({name: clip for name, (clip, _) in encoded.items()})
            has = {
                name: mask.any(axis=1) & batch["present"][:, MODALITIES.index(name)]
                for name, (_, mask) in encoded.items()
            }
            return {name: (pair, has[name] & has[TEXT]) for name, pair in pairs.items()}

        return self.model.apply({"params": params}, batch, method=embed, **options)  # type: ignore[return-value]

    def features(self, towers: dict, batch: Batch, modalities: Sequence[str]) -> dict[str, jax.Array]:
        """The clip vectors of each modality, or the states from which its readout makes them.

        Returns:
            `{modality}/mask` bool [b, t], and `/vector` float32 [b, D] or, with a readout, `/features` [b, t, ..., D].
        """
        encoded: Any = self.model.towers.apply({"params": towers}, batch, True, modalities)
        names = readouts_of(self.model.towers).names
        kept = {f"{name}/mask": mask for name, (_, _, mask) in encoded.items()}
        kept |= {f"{name}/features": states for name, (states, _, _) in encoded.items() if name in names}
        return kept | {f"{name}/vector": clip for name, (_, clip, _) in encoded.items() if name not in names}

    def score(self, outputs: dict[str, np.ndarray], split: str) -> dict[str, float]:
        """Retrieval in all four directions with chance next to it, and the means over the directions."""
        scores: dict[str, float] = {}
        for modality in self.model.modalities:
            both = outputs[f"{modality}/both"]
            if not both.any():
                continue
            left, text = outputs[f"{modality}/left"][both], outputs[f"{modality}/text"][both]
            result = retrieval(left, text, outputs["transcript"][both], (modality, TEXT))
            scores |= {name.replace("chance/", f"chance_{modality}_{TEXT}/"): value for name, value in result.items()}
        means = {}
        for metric in ("recall@1", "recall@5"):
            recalls = [value for name, value in scores.items() if "_to_" in name and name.endswith(metric)]
            means[f"mean/{metric}"] = float(np.mean(recalls)) if recalls else 0.0
        return scores | means


def _repeated(pair: Embedded, shape: tuple[int, ...]) -> Embedded:
    """The pair with its scalars once for each clip, [b]."""
    bias = None if pair.bias is None else jnp.broadcast_to(pair.bias, shape)
    return pair._replace(scale=jnp.broadcast_to(pair.scale, shape), bias=bias)
