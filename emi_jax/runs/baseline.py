"""The linear bar: a ridge on pooled statistics of the same features that the model reads.

It shows whether the fusion earns its keep. For each modality the statistics over time of the clean features are
standardised as the model's are, over the training split or within subjects; one ridge is fitted for each, and for all
of them together the predictions are added. The penalty is chosen on the validation split.
"""

import logging
from typing import Any

import numpy as np

from emi_jax.inputs.dataset import subject
from emi_jax.inputs.features import CLEAN, CachedClips
from emi_jax.metrics.regression import pearson
from emi_jax.metrics.ridge import PENALTIES, ridge
from emi_jax.runs.checks import AUTO, OFF
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import extract
from emi_jax.runs.standardisation import NONE, SUBJECT, choice

MOST_NUMBERS = 2e9
"""With `auto`, features of more numbers than this are left out: reading and sorting them takes minutes."""

log = logging.getLogger(__name__)


def linear_baseline(experiment: Experiment, split: str) -> dict[str, Any] | None:
    """Fits the ridge on the training split and scores it on another.

    Args:
        experiment: a run of stage 2 whose features are cached.
        split: the split to score.

    Returns:
        For JSON: {"standardised": "split" or "subject", "rows": {modality or "all": {"penalty": its penalty, "pearson":
        the mean Pearson correlation over the labels on `split`, "valid": that on the validation split}}}. None where
        there is no feature cache, where it takes too long, or where the config switches it off.
    """
    config = experiment.config
    if config.baseline == OFF or not config.features.dir:
        return None
    splits = {name: _cached(experiment, name) for name in dict.fromkeys(("train", "valid", split))}
    if config.baseline == AUTO and (size := _numbers(splits)) > MOST_NUMBERS:
        log.info("linear baseline: left out for %.1g numbers; --config.baseline=on fits it all the same", size)
        return None
    modalities, how = experiment.transform.shape.modalities, choice(experiment)[0]
    pooled = {name: [_read(clips, modality) for modality in modalities] for name, clips in splits.items()}
    if how == SUBJECT:
        for name in splits:
            texts = experiment.dataset.texts(name)
            who = np.array([subject(texts[row]) for row in range(len(splits[name]))])
            pooled[name] = [_within(x, who) for x in pooled[name]]
    moments = [_moments(x) for x in pooled["train"]]
    pooled = {
        name: [(x - mean) / deviation for x, (mean, deviation) in zip(parts, moments, strict=True)]
        for name, parts in pooled.items()
    }
    labels = {name: _labels(clips) for name, clips in splits.items()}
    known = labels["train"][1].all(axis=1)
    rows: dict[str, Any] = {}
    everything: dict[float, list[np.ndarray]] = {}
    for place, modality in enumerate(modalities):
        train = pooled["train"][place][known]
        wanted = [pooled[name][place] for name in ("valid", split)]
        predicted = {penalty: ridge(train, labels["train"][0][known], wanted, penalty) for penalty in PENALTIES}
        for penalty, parts in predicted.items():
            sums = everything.setdefault(penalty, [np.zeros_like(part) for part in parts])
            everything[penalty] = [total + part for total, part in zip(sums, parts, strict=True)]
        rows[modality] = _best(predicted, labels, split)
    if len(modalities) > 1:
        rows["all"] = _best(everything, labels, split)
    return {"standardised": how if how != NONE else "split", "rows": rows}


def _best(predicted: dict[float, list[np.ndarray]], labels: dict[str, Any], split: str) -> dict[str, float]:
    """The scores with the penalty that is best on the validation split."""
    valid = {penalty: _score(parts[0], *labels["valid"]) for penalty, parts in predicted.items()}
    penalty = max(valid, key=valid.__getitem__)
    return {"penalty": penalty, "valid": valid[penalty], "pearson": _score(predicted[penalty][1], *labels[split])}


def _score(predictions: np.ndarray, labels: np.ndarray, known: np.ndarray) -> float:
    values = pearson(predictions, labels, known)
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _cached(experiment: Experiment, split: str) -> CachedClips:
    return extract(experiment, split).read(split, [CLEAN])


def _numbers(splits: dict[str, CachedClips]) -> int:
    """How many numbers the features of all clips are."""
    sizes = {
        name: sum(array.size for key, array in clips[0].rendition(0).items() if key.endswith("/features"))
        for name, clips in splits.items()
    }
    return sum(sizes[name] * len(clips) for name, clips in splits.items())


def _read(clips: CachedClips, modality: str) -> np.ndarray:
    """The statistics of all clips of a split, float32 [n, S]."""
    return np.stack([clips[row].pooled(modality) for row in range(len(clips))])


def _within(x: np.ndarray, who: np.ndarray) -> np.ndarray:
    """Rows [n, S] standardised over the rows of one subject."""
    standardised = np.empty_like(x)
    for name in set(who.tolist()):
        mine = who == name
        mean, deviation = _moments(x[mine])
        standardised[mine] = (x[mine] - mean) / deviation
    return standardised


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of columns; 1 for a column that is constant."""
    deviation = x.std(axis=0)
    return x.mean(axis=0), np.where(deviation > 1e-6, deviation, 1)


def _labels(clips: CachedClips) -> tuple[np.ndarray, np.ndarray]:
    """Labels float32 and which are known, [n, K]."""
    arrays = [clips[row].rendition(0) for row in range(len(clips))]
    return np.stack([clip["labels"] for clip in arrays]), np.stack([clip["label_mask"] for clip in arrays])
