"""The linear baseline: a ridge on pooled statistics of the same features that the model reads.

It shows what the fusion adds. For each modality the statistics over time of the clean features are standardised over
the training split or within subjects, as the model's are; one ridge is fitted for each, and for all of them together
the predictions are added. The penalty is chosen on the validation split.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emi_jax.inputs.cached import CachedClips
from emi_jax.inputs.dataset import subject
from emi_jax.inputs.features import CLEAN
from emi_jax.metrics import bootstrap
from emi_jax.metrics.ridge import best_penalty, by_penalty, column_moments, mean_pearson
from emi_jax.models.readout import readouts_of
from emi_jax.runs.checks import AUTO, OFF
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.features import cached_clips
from emi_jax.runs.scores import for_json, units
from emi_jax.runs.standardisation import SPLIT, SUBJECT, choice

MOST_NUMBERS = 2e9
"""With `auto`, features of more numbers than this are left out: reading and sorting them takes minutes."""

log = logging.getLogger(__name__)


def linear_baseline(experiment: Experiment, split: str, own: np.ndarray) -> dict[str, Any] | None:
    """Fits the ridge on the training split and scores it on another.

    Args:
        experiment: a run of stage 2 whose features are cached.
        split: the split to score.
        own: [n, K], the model's predictions for its clips in their order.

    Returns:
        For JSON: {"standardised": "split" or "subject", "rows": {modality or "all": what `score_baseline` returns, the
        "penalty", and "valid", the mean correlation on the validation split}}. None where there is no feature cache,
        training changes the features, it takes too long, no clip has all its labels, or the config switches it off.
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
    labels = {name: labels_of(clips) for name, clips in splits.items()}  # reading these keeps the statistics
    pooled = {name: statistics(experiment, name, clips) for name, clips in splits.items()}
    (values, every), count = labels["train"], len(splits["valid"])
    fitted = every.all(axis=1)
    if not fitted.any():
        log.info("linear baseline: left out, since no clip that is trained on has all its labels")
        return None
    train = {name: x[fitted] for name, x in pooled["train"].items()}
    others = {name: np.concatenate([x, pooled[split][name]]) for name, x in pooled["valid"].items()}
    rows: dict[str, Any] = {}
    groups, _, _ = units(subjects_of(experiment, split))
    for name, predicted in by_penalty(train, values[fitted], others).items():
        on_valid = {penalty: x[:count] for penalty, x in predicted.items()}
        penalty = best_penalty(on_valid, *labels["valid"])
        rows[name] = score_baseline(predicted[penalty][count:], own, *labels[split], groups) | {
            "penalty": penalty,
            "valid": mean_pearson(on_valid[penalty], *labels["valid"]),
        }
    return {"standardised": standardised_over(experiment), "rows": rows}


def score_baseline(
    predictions: np.ndarray, own: np.ndarray, labels: np.ndarray, known: np.ndarray, groups: Sequence[str] | None
) -> dict[str, Any]:
    """Scores the ridge, and how far the model is ahead of it.

    Args:
        predictions: [n, K], of the ridge.
        own: [n, K], of the model.
        labels: [n, K].
        known: bool [n, K].
        groups: [n], equal for clips that are resampled together, or None.

    Returns:
        For JSON: "pearson", the mean correlation over the labels, and its "interval", as `measure` has; "difference",
        the model's minus it, and its "difference_interval" by a paired bootstrap.
    """
    pearson = mean_pearson(predictions, labels, known)
    return {
        "pearson": pearson,
        "interval": for_json(bootstrap.intervals(predictions, labels, known, groups)["pearson"][-1]),
        "difference": mean_pearson(own, labels, known) - pearson,
        "difference_interval": for_json(bootstrap.differences(own, predictions, labels, known, groups)["pearson"][-1]),
    }


def standardised_over(experiment: Experiment) -> str:
    """What the statistics are standardised over: "subject" as the run's features are, or the training "split"."""
    return SUBJECT if choice(experiment)[0] == SUBJECT else SPLIT


def subjects_of(experiment: Experiment, split: str) -> list[str]:
    """The person in each clip of a split, "" where unknown."""
    index = experiment.dataset.index(split)
    return [subject(index[row]) for row in range(len(index))]


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


def statistics(experiment: Experiment, split: str, clips: CachedClips) -> dict[str, np.ndarray]:
    """The statistics of all clips of a split, float32 [n, S] by modality in use.

    They are standardised within subjects if the run's features are, and otherwise not at all.
    """
    pooled = {modality: _read(clips, modality) for modality in experiment.transform.shape.modalities}
    if choice(experiment)[0] != SUBJECT:
        return pooled
    who = np.array(subjects_of(experiment, split))
    return {modality: _within(x, who) for modality, x in pooled.items()}


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


def labels_of(clips: CachedClips) -> tuple[np.ndarray, np.ndarray]:
    """Labels float32 and which are known, [n, K]."""
    arrays = [clips[row].outline() for row in range(len(clips))]
    return np.stack([clip["labels"] for clip in arrays]), np.stack([clip["label_mask"] for clip in arrays])
