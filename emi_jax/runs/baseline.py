"""The linear bar: a ridge on pooled statistics of the same features that the model reads.

It shows whether the fusion earns its keep. For each modality the statistics over time of the clean features are
standardised as the model's are, over the training split or within subjects; one ridge is fitted for each, and for all
of them together the predictions are added. The penalty is chosen on the validation split.
"""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from emi_jax.inputs.cached import CachedClips
from emi_jax.inputs.dataset import subject
from emi_jax.inputs.features import CLEAN
from emi_jax.metrics import regression
from emi_jax.metrics.ridge import PENALTIES, ridge
from emi_jax.models.readout import readouts_of
from emi_jax.runs.checks import AUTO, OFF
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import cached_clips
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
        there is no feature cache, training changes the features, it takes too long, or the config switches it off.
    """
    config = experiment.config
    if config.baseline == OFF or not config.features.dir:
        return None
    if changed := changing(experiment):
        log.info("linear baseline: left out, as training changes the features of %s", ", ".join(changed))
        return None
    if "valid" in config.data.train_on:
        log.info("linear baseline: left out, since its penalty is chosen on valid, which is trained on")
        return None
    clean = {CLEAN: experiment.transform}
    splits = {name: cached_clips(experiment, name, clean) for name in dict.fromkeys(("train", "valid", split))}
    if not is_quick(experiment, splits):
        return None
    modalities, how = experiment.transform.shape.modalities, choice(experiment)[0]
    labels = {name: labels_of(clips) for name, clips in splits.items()}  # reading these keeps the statistics
    pooled = {name: statistics(experiment, name, clips) for name, clips in splits.items()}
    moments = [column_moments(x) for x in pooled["train"]]
    pooled = {
        name: [(x - mean) / deviation for x, (mean, deviation) in zip(parts, moments, strict=True)]
        for name, parts in pooled.items()
    }
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


def changing(experiment: Experiment) -> list[str]:
    """The modalities whose features training changes: of trained encoders, and of learned mixes of frozen ones."""
    changed = {*experiment.stage.trained_towers, *readouts_of(experiment.encoders.towers).names}
    return [name for name in experiment.transform.shape.modalities if name in changed]


def is_quick(experiment: Experiment, splits: Mapping[str, CachedClips]) -> bool:
    """Whether a ridge is fitted on these splits: the features are not too many, or the config switches it on."""
    size = _numbers(splits)
    if experiment.config.baseline == AUTO and size > MOST_NUMBERS:
        log.info("linear baseline: left out for %.1g numbers; --config.baseline=on fits it all the same", size)
        return False
    return True


def statistics(experiment: Experiment, split: str, clips: CachedClips) -> list[np.ndarray]:
    """The statistics of all clips of a split, float32 [n, S] by modality in use.

    They are standardised within subjects if the run's features are, and otherwise not at all.
    """
    pooled = [_read(clips, modality) for modality in experiment.transform.shape.modalities]
    if choice(experiment)[0] != SUBJECT:
        return pooled
    texts = experiment.dataset.texts(split)
    who = np.array([subject(texts[row]) for row in range(len(clips))])
    return [_within(x, who) for x in pooled]


def _best(predicted: dict[float, list[np.ndarray]], labels: dict[str, Any], split: str) -> dict[str, float]:
    """The scores with the penalty that is best on the validation split."""
    valid = {penalty: mean_pearson(parts[0], *labels["valid"]) for penalty, parts in predicted.items()}
    penalty = max(valid, key=valid.__getitem__)
    return {"penalty": penalty, "valid": valid[penalty], "pearson": mean_pearson(predicted[penalty][1], *labels[split])}


def mean_pearson(predictions: np.ndarray, labels: np.ndarray, known: np.ndarray) -> float:
    """Pearson's correlation, the mean over the labels [n, K] where it is defined; 0 where none is."""
    return regression.mean(regression.pearson(predictions, labels, known))


def _numbers(splits: Mapping[str, CachedClips]) -> int:
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
        mean, deviation = column_moments(x[mine])
        standardised[mine] = (x[mine] - mean) / deviation
    return standardised


def column_moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of columns; 1 for a column that is constant."""
    deviation = x.std(axis=0)
    return x.mean(axis=0), np.where(deviation > 1e-6, deviation, 1)


def labels_of(clips: CachedClips) -> tuple[np.ndarray, np.ndarray]:
    """Labels float32 and which are known, [n, K]."""
    arrays = [clips[row].outline() for row in range(len(clips))]
    return np.stack([clip["labels"] for clip in arrays]), np.stack([clip["label_mask"] for clip in arrays])
