"""What other runs have left in their folders: their predictions on a split, and whether they were trained on it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emi_jax.errors import UserError
from emi_jax.files import read_json
from emi_jax.inputs.dataset import Dataset
from emi_jax.report.score_tables import CHOSEN, TRAINED
from emi_jax.runs.checks import BEST
from emi_jax.runs.submission import read_predictions


def read_predictions_of(source: Path, dataset: Dataset, split: str, ids: Sequence[str]) -> np.ndarray:
    """The stored predictions of a run on a split in [0, 1], [n, K].

    Args:
        source: the folder of a run, which holds `predictions_SPLIT.csv`; or such a CSV itself.
        dataset: the dataset of the split.
        split: name of the split.
        ids: [n], the clips; others in the file are ignored.

    Raises:
        UserError: the predictions are missing, lack some of the clips, or are outside of the labels' range.
    """
    low, high = dataset.label_range
    path = predictions_file(source, split)
    if not path.is_file():
        raise UserError(
            f"no predictions in {path}: write those of a run with python run.py --config=CONFIG --workdir={source} "
            f"--mode=predict --split={split}"
        )
    found = read_predictions(path, dataset.label_names)
    if missing := [clip for clip in ids if clip not in found]:
        raise UserError(f"{path} lacks {len(missing)} of the {len(ids)} clips of {split}, such as {missing[0]}")
    for clip in ids:
        if found[clip].min() < low or found[clip].max() > high:
            raise UserError(f"{path}: a value of {clip} is outside of the labels' [{low:g}, {high:g}]; clip it first")
    return np.array([(found[clip] - low) / (high - low) for clip in ids])


def predictions_file(source: Path, split: str) -> Path:
    """The CSV of a run's predictions on a split; a source that is no folder is such a CSV itself."""
    return source / f"predictions_{split}.csv" if source.is_dir() else source


def use_of_split(source: Path, split: str) -> dict[str, bool] | None:
    """How a run used the clips of a split: whether it was `TRAINED` on them, or its checkpoint was `CHOSEN` by them.

    Args:
        source: the folder of a run or of an ensemble; of a single CSV nothing is known.
        split: name of the split.

    Returns:
        None where the folder says nothing about it.
    """
    if (path := source / "config.json").is_file():
        config = read_json(path)
        try:
            trained, selected = split in config["data"]["train_on"], config["train"]["select"] == BEST
        except (KeyError, TypeError):
            return None
        return {TRAINED: trained, CHOSEN: split == "valid" and selected}
    if (path := source / f"metrics_{split}.json").is_file():
        results = read_json(path)
        return {name: results[name] for name in (TRAINED, CHOSEN)} if {TRAINED, CHOSEN} <= results.keys() else None
    return None
