"""Combines the predictions of several runs or CSVs on a split, and scores them where labels are known."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emi_jax.errors import UserError
from emi_jax.files import write_json
from emi_jax.inputs.dataset import Dataset, clip_id, seconds, subject
from emi_jax.metrics.combination import fitted_weights, rank_mean
from emi_jax.modalities import MODALITIES
from emi_jax.report import score_tables
from emi_jax.runs.comparison import compare
from emi_jax.runs.results import Summary
from emi_jax.runs.scores import measure
from emi_jax.runs.stored import predictions_file, read_predictions_of, use_of_split
from emi_jax.runs.submission import check_submission, write_predictions

MEAN, RANK, FITTED = HOW = ("mean", "rank", "nnls")
"""The mean; the mean of ranks; a weighted mean whose weights are fitted on the validation split."""

log = logging.getLogger(__name__)


def combine(
    sources: Sequence[Path],
    dataset: Dataset,
    split: str,
    output: Path,
    how: str = MEAN,
    other: Path | None = None,
) -> Summary:
    """Writes the combined predictions of several models on a split as a submission, and scores them.

    Args:
        sources: folders of runs, which hold `predictions_SPLIT.csv`; or, except for `FITTED`, such CSVs themselves. The
            members of a cross-validation are its `folds/*`.
        dataset: the dataset of the split.
        split: name of the split.
        output: folder for `predictions_SPLIT.csv` and, where labels are known, `metrics_SPLIT.json`.
        how: one of `HOW`.
        other: a further source to compare the combination with, where labels are known.

    Raises:
        UserError: a source is named twice or would be overwritten, predictions are missing or not those of the split or
            outside of the labels' range, weights are to be fitted on clips that a source was trained on, or there are
            no labels for a comparison.
    """
    path = output / f"predictions_{split}.csv"
    _check_names(sources, other, split, path)
    ids, subjects = _clips(dataset, split)
    unlabelled = dataset.lacks(split, "labels")
    if other and unlabelled:
        raise UserError(f"--compare={other}: no clip of {split} has labels to compare predictions with")
    predictions = _read(sources, dataset, split, ids)
    compared = read_predictions_of(other, dataset, split, ids) if other else None
    weights = np.full(len(sources), 1 / len(sources))
    if how == FITTED:
        weights = _fit(sources, dataset)
        for source, weight in zip(sources, weights, strict=True):
            log.info("weight %.3f  %s", weight, source)
    combined = rank_mean(predictions) if how == RANK else np.tensordot(weights, predictions, 1)
    output.mkdir(parents=True, exist_ok=True)
    write_predictions(path, ids, combined, dataset.label_names, dataset.label_range)
    check_submission(path, ids, dataset.label_names, dataset.label_range)
    if unlabelled:
        return Summary(f"{split} has no labels: nothing is scored", [path], f"predicted {len(ids)} clips")
    (labels, lengths), present = _labels(dataset, split), np.ones((len(ids), len(MODALITIES)), bool)
    outputs = {"predictions": combined, "labels": labels, "label_mask": np.isfinite(labels), "present": present}
    ceiling = {name: float(value) for name, value in dataset.ceiling.get(split, {}).items()}
    results = measure(outputs, dataset.label_names, subjects, ceiling, seconds=lengths)
    results["availability"] = {}  # predictions do not say what their models have read
    results |= {"members": [str(source) for source in sources], "how": how, "weights": weights.tolist()}
    results |= _use(sources, split)
    if other is not None and compared is not None:
        results["comparison"] = compare(outputs, other, compared, dataset.label_names, subjects, split)
    tables = score_tables.intensity_tables(results, f"{split}, {len(sources)} models combined by {how}")
    text = "\n\n".join([score_tables.text_of(tables), *score_tables.meaning(results, split)])
    metrics = output / f"metrics_{split}.json"
    write_json(metrics, results | {"table": text})
    verdict = f"mean pearson {results['mean']['pearson'] or 0.0:.3f}"
    if how == FITTED and split == "valid":
        verdict = "the weights were fitted on the clips of valid: these scores are too high\n" + verdict
    return Summary(text, [path, metrics], verdict)


def _check_names(sources: Sequence[Path], other: Path | None, split: str, written: Path) -> None:
    """Refuses a source that is named twice, and a file of predictions that would be overwritten.

    Raises:
        UserError: there is such a source or file.
    """
    files = [predictions_file(source, split).resolve() for source in sources]
    for source, file in zip(sources, files, strict=True):
        if files.count(file) > 1:
            raise UserError(f"{source}: its predictions are named twice, and would count twice; leave one out")
    compared = [predictions_file(other, split).resolve()] if other else []
    if written.resolve() in (*files, *compared) or (written.parent / "config.json").exists():
        raise UserError(
            f"--output={written.parent}: {written.name} there belongs to a run or source; name a new folder"
        )


def _fit(sources: Sequence[Path], dataset: Dataset) -> np.ndarray:
    """The weights of the sources, fitted on the validation split.

    Raises:
        UserError: a source is a single CSV or was trained on the validation split, or the weights are all 0.
    """
    for source in sources:
        if not source.is_dir():
            raise UserError(f"{source}: weights are fitted on predictions_valid.csv, so name the run's folder instead")
        use = use_of_split(source, "valid")
        if use is None:
            log.warning("%s does not say what it was trained on: make sure that valid was not part of it", source)
        elif use[score_tables.TRAINED]:
            raise UserError(
                f"{source} was trained on clips of valid (config.data.train_on), where its predictions are too good to "
                f"fit a weight on them: leave it out, or combine the runs with --how={MEAN} or --how={RANK}"
            )
    ids, _ = _clips(dataset, "valid")
    labels, _ = _labels(dataset, "valid")
    try:
        return fitted_weights(_read(sources, dataset, "valid", ids), labels, np.isfinite(labels))
    except ValueError as error:
        raise UserError(f"weights cannot be fitted on valid: {error}; combine the runs by their mean") from error


def _read(sources: Sequence[Path], dataset: Dataset, split: str, ids: Sequence[str]) -> np.ndarray:
    """The predictions of each source in [0, 1], [M, n, K]."""
    return np.stack([read_predictions_of(source, dataset, split, ids) for source in sources])


def _use(sources: Sequence[Path], split: str) -> dict[str, bool]:
    """Whether any of the sources was trained on or chosen by the clips of a split; empty unless all of them say."""
    uses = [use_of_split(source, split) for source in sources]
    known = [use for use in uses if use is not None]
    if len(known) < len(uses):
        return {}
    return {name: any(use[name] for use in known) for name in (score_tables.TRAINED, score_tables.CHOSEN)}


def _clips(dataset: Dataset, split: str) -> tuple[list[str], list[str]]:
    """The ids and subjects of the clips of a split."""
    index = dataset.index(split)
    clips = [index[row] for row in range(len(index))]
    return [clip_id(clip) for clip in clips], [subject(clip) for clip in clips]


def _labels(dataset: Dataset, split: str) -> tuple[np.ndarray, list[float]]:
    """The labels of a split, [n, K], NaN where unknown, and the lengths of its clips in seconds."""
    examples = dataset.split(split)
    found = [
        (np.asarray(example["labels"], np.float64), seconds(example))
        for example in (examples[row] for row in range(len(examples)))
    ]
    return np.stack([labels for labels, _ in found]), [length for _, length in found]
