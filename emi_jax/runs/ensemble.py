"""Combines the predictions of several runs or CSVs on a split, and scores them where labels are known."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emi_jax.errors import UserError
from emi_jax.files import write_json
from emi_jax.inputs.dataset import Dataset, clip_id, subject
from emi_jax.metrics.combination import fitted_weights, rank_mean
from emi_jax.modalities import MODALITIES
from emi_jax.report import score_tables
from emi_jax.runs.results import Summary, measure
from emi_jax.runs.submission import check_submission, read_predictions, write_predictions

MEAN, RANK, FITTED = HOW = ("mean", "rank", "nnls")
"""The mean; the mean of ranks; a weighted mean whose weights are fitted on the validation split."""

log = logging.getLogger(__name__)


def combine(sources: Sequence[Path], dataset: Dataset, split: str, output: Path, how: str = MEAN) -> Summary:
    """Writes the combined predictions of several models on a split as a submission, and scores them.

    Args:
        sources: folders of runs, which hold `predictions_SPLIT.csv`; or, except for `FITTED`, such CSVs themselves. The
            members of a cross-validation are its `folds/*`.
        dataset: the dataset of the split.
        split: name of the split.
        output: folder for `predictions_SPLIT.csv` and, where labels are known, `metrics_SPLIT.json`.
        how: one of `HOW`.

    Raises:
        UserError: predictions are missing, or not those of the split.
    """
    texts = dataset.texts(split)
    ids = [clip_id(texts[row]) for row in range(len(texts))]
    predictions = _read(sources, dataset, split, ids)
    weights = np.full(len(sources), 1 / len(sources))
    if how == FITTED:
        weights = _fit(sources, dataset)
        for source, weight in zip(sources, weights, strict=True):
            log.info("weight %.3f  %s", weight, source)
    combined = rank_mean(predictions) if how == RANK else np.tensordot(weights, predictions, 1)
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"predictions_{split}.csv"
    write_predictions(path, ids, combined, dataset.label_names, dataset.label_range)
    check_submission(path, ids, dataset.label_names, dataset.label_range)
    if dataset.lacks(split, "labels"):
        return Summary(f"{split} has no labels: nothing is scored", [path], f"predicted {len(ids)} clips")
    labels, present = _labels(dataset, split), np.ones((len(ids), len(MODALITIES)), bool)
    outputs = {"predictions": combined, "labels": labels, "label_mask": np.isfinite(labels), "present": present}
    ceiling = {name: float(value) for name, value in dataset.ceiling.get(split, {}).items()}
    results = measure(outputs, dataset.label_names, [subject(texts[row]) for row in range(len(ids))], ceiling)
    results |= {"members": [str(source) for source in sources], "how": how, "weights": weights.tolist()}
    table, _ = score_tables.intensity_tables(results, f"{split}, {len(sources)} models combined by {how}")
    text = "\n\n".join([score_tables.text_of([table]), *score_tables.meaning(results, split)])
    metrics = output / f"metrics_{split}.json"
    write_json(metrics, results | {"table": text})
    verdict = f"mean pearson {results['mean']['pearson'] or 0.0:.3f}"
    if how == FITTED and split == "valid":
        verdict = "the weights were fitted on the clips of valid: these scores are too high\n" + verdict
    return Summary(text, [path, metrics], verdict)


def _read(sources: Sequence[Path], dataset: Dataset, split: str, ids: Sequence[str]) -> np.ndarray:
    """The predictions of each source in [0, 1], [M, n, K].

    Raises:
        UserError: predictions are missing, or not those of the split.
    """
    low, high = dataset.label_range
    parts = []
    for source in sources:
        path = source / f"predictions_{split}.csv" if source.is_dir() else source
        if not path.is_file():
            raise UserError(
                f"no predictions in {path}: write those of a run with python run.py --config=CONFIG --workdir={source} "
                f"--mode=predict --split={split}"
            )
        found = read_predictions(path, dataset.label_names)
        if missing := [clip for clip in ids if clip not in found]:
            raise UserError(f"{path} lacks {len(missing)} of the {len(ids)} clips of {split}, such as {missing[0]}")
        parts.append([(found[clip] - low) / (high - low) for clip in ids])
    return np.array(parts)


def _fit(sources: Sequence[Path], dataset: Dataset) -> np.ndarray:
    """The weights of the sources, fitted on the validation split.

    Raises:
        UserError: a source is a single CSV, or the weights are all 0.
    """
    if files := [source for source in sources if not source.is_dir()]:
        raise UserError(f"{files[0]}: weights are fitted on predictions_valid.csv, so name the run's folder instead")
    texts = dataset.texts("valid")
    ids = [clip_id(texts[row]) for row in range(len(texts))]
    labels = _labels(dataset, "valid")
    try:
        return fitted_weights(_read(sources, dataset, "valid", ids), labels, np.isfinite(labels))
    except ValueError as error:
        raise UserError(f"weights cannot be fitted on valid: {error}; combine the runs by their mean") from error


def _labels(dataset: Dataset, split: str) -> np.ndarray:
    """The labels of a split, [n, K], NaN where unknown."""
    examples = dataset.split(split)
    return np.stack([np.asarray(examples[row]["labels"], np.float64) for row in range(len(examples))])
