"""The linear probe of stage 1: how well a ridge on the embeddings predicts the labels (Alain and Bengio 2017).

Contrastive losses say nothing about labels; the probe shows in every evaluation what stage 2 could read so far.
"""

import dataclasses

import numpy as np

from emi_jax.inputs.loader import RandomAccess
from emi_jax.inputs.regrouped import Selected
from emi_jax.metrics.ridge import ALL, best_penalty, by_penalty, mean_pearson
from emi_jax.modalities import TEXT
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import inputs
from emi_jax.runs.lengths import length_buckets
from emi_jax.train.evaluation import Evaluator, Outputs, Scores
from emi_jax.train.hooks import Scorer

SHOWN = f"probe/{ALL}/pearson"
"""The mean Pearson correlation of the sum of the ridges on all embeddings."""
FOLDS = 5
"""One training clip of so many chooses the penalty, and the others are fitted."""


@dataclasses.dataclass(frozen=True)
class Probed:
    """An evaluator of stage 1 whose scores include those of the probe.

    Attributes:
        evaluator: evaluates the split that is scored.
        fitted: evaluates the training clips that the ridge is fitted on.
    """

    evaluator: Evaluator
    fitted: Evaluator

    @property
    def split(self) -> str:
        """The name of the split that is scored."""
        return self.evaluator.split

    def run(self, params: dict, progress: bool = False) -> tuple[list[Scores], Outputs]:
        """Scores parameters, as `Evaluator.run`."""
        [scores], outputs = self.evaluator.run(params, progress)
        return [scores | probe(self.fitted.gather(params, progress), outputs)], outputs


def probed(experiment: Experiment, evaluator: Evaluator, training: RandomAccess | None = None) -> Scorer:
    """The evaluator with a probe, where the config has one and the dataset has labels.

    Args:
        experiment: a run of either stage.
        evaluator: evaluates a split.
        training: the examples of the training split; by default they are opened.
    """
    dataset = experiment.dataset
    count = min(experiment.config.get("probe", 0), dataset.splits.get("train", 0))
    if not count or any(dataset.lacks(split, "labels") for split in ("train", evaluator.split)):
        return evaluator
    if training is None:
        training, _ = inputs(experiment, "train", augment=False)
    rows = np.linspace(0, len(training) - 1, count).round().astype(int)
    chosen = Selected({"train": training}, [("train", row) for row in rows.tolist()])
    buckets = length_buckets(experiment, "train")
    return Probed(evaluator, evaluator.over(chosen, split="probe", buckets=buckets and buckets.at(rows)))


def probe(fitted: Outputs, scored: Outputs) -> Scores:
    """Fits a ridge on the embeddings of each modality and scores it on other clips.

    The embeddings of the text in all pairs are one vector. A clip without a modality has the mean embedding.

    Args:
        fitted: of `Alignment.forward`, with the labels, for the training clips.
        scored: the same for the clips to score.

    Returns:
        `probe/{modality}/pearson`, and `probe/all/pearson` for the sum of the predictions of all: mean Pearson
        correlations over the labels; empty if too few of the training clips have all labels.
    """
    known = np.flatnonzero(fitted["label_mask"].all(axis=1))
    if len(known) < 2 * FOLDS:
        return {}
    is_held = np.arange(len(known)) % FOLDS == FOLDS - 1
    rows, held = known[~is_held], known[is_held]
    train, wanted, others = {}, {}, _embeddings(scored)
    for name, x in _embeddings(fitted).items():
        mean = _mean(x[rows])
        train[name] = _filled(x[rows], mean)
        wanted[name] = _filled(np.concatenate([x[held], others[name]]), mean)
    labels, scores = fitted["labels"], {}
    for name, predicted in by_penalty(train, labels[rows], wanted).items():
        on_held = {penalty: values[: len(held)] for penalty, values in predicted.items()}
        on_scored = predicted[best_penalty(on_held, labels[held], fitted["label_mask"][held])][len(held) :]
        scores[f"probe/{name}/pearson"] = mean_pearson(on_scored, scored["labels"], scored["label_mask"])
    return scores


def _filled(x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Rows [n, P] with a mean [P] in place of NaN."""
    return np.where(np.isnan(x), mean, x)


def _mean(x: np.ndarray) -> np.ndarray:
    """The mean of the numbers in each column of [n, P]; 0 where there are none."""
    known = ~np.isnan(x)
    return np.where(known, x, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def _embeddings(outputs: Outputs) -> dict[str, np.ndarray]:
    """The embeddings by modality, float64 [n, .], NaN for clips without both sides of a pair."""
    found: dict[str, np.ndarray] = {}
    for modality in sorted(name.removesuffix("/both") for name in outputs if name.endswith("/both")):
        both = outputs[f"{modality}/both"][:, None]
        found[modality] = np.where(both, outputs[f"{modality}/left"].astype(np.float64), np.nan)
        text = np.where(both, outputs[f"{modality}/text"].astype(np.float64), np.nan)
        found[TEXT] = np.concatenate([found[TEXT], text], axis=1) if TEXT in found else text
    return found
