"""A dataset whose splits are other selections of the same clips: folds of a cross-validation, or joined splits."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from emi_jax.errors import UserError
from emi_jax.inputs.dataset import Dataset, Examples

Place = tuple[str, int]
"""A clip of a dataset: its split and its row there."""


@dataclasses.dataclass(frozen=True)
class Selected:
    """Random access to items that are chosen from several sources.

    Attributes:
        sources: the sources by name.
        places: (name of the source, row in it) of each item.
    """

    sources: Mapping[str, Any]
    places: Sequence[Place]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Any:
        name, row = self.places[index]
        return self.sources[name][row]


@dataclasses.dataclass(frozen=True)
class _Regrouped:
    """The splits of a regrouped dataset."""

    base: Dataset
    places: Mapping[str, Sequence[Place]]

    def as_data_source(self, split: str) -> Examples:
        places = self.places[split]
        return Selected({name: self.base.split(name) for name, _ in places}, places)

    def index(self, split: str) -> Examples:
        places = self.places[split]
        return Selected({name: self.base.index(name) for name, _ in places}, places)


def regroup(dataset: Dataset, places: Mapping[str, Sequence[Place]]) -> Dataset:
    """The same dataset with other splits.

    Args:
        dataset: the dataset.
        places: the clips of each new split. Splits that are not named stay as they are.

    Returns:
        A dataset with its own fingerprint. The ceilings of the new splits, and how many of their clips have which
        modality, are unknown.
    """
    everything = {split: places_of(dataset, split) for split, count in dataset.splits.items() if count}
    everything |= {split: list(chosen) for split, chosen in places.items()}
    facts = json.dumps([dataset.fingerprint, places])
    return dataclasses.replace(
        dataset,
        splits={split: len(chosen) for split, chosen in everything.items()},
        available={split: known for split, known in dataset.available.items() if split not in places},
        ceiling={split: known for split, known in dataset.ceiling.items() if split not in places},
        fingerprint=hashlib.sha256(facts.encode()).hexdigest(),
        builder=_Regrouped(dataset, everything),
    )


def join_for_training(dataset: Dataset, splits: Sequence[str]) -> Dataset:
    """The same dataset, whose training split holds the clips of several splits.

    A regrouped dataset stays as it is: its training split was chosen before.

    Raises:
        UserError: a split is named twice, is missing or empty, or `train` is not among them.
    """
    if "train" not in splits or len(set(splits)) < len(splits):
        raise UserError(f"config.data.train_on={tuple(splits)}: expected train and further splits, each once")
    if tuple(splits) == ("train",) or isinstance(dataset.builder, _Regrouped):
        return dataset
    if not dataset.splits:  # it only describes a trained model
        return dataset
    for name in splits:
        dataset.split(name)
    return regroup(dataset, {"train": [place for name in splits for place in places_of(dataset, name)]})


def base_of(dataset: Dataset) -> Dataset:
    """The dataset that was regrouped, or the dataset itself."""
    return dataset.builder.base if isinstance(dataset.builder, _Regrouped) else dataset


def places_of(dataset: Dataset, split: str) -> list[Place]:
    """The split and row of each clip of a split in `base_of(dataset)`."""
    if isinstance(dataset.builder, _Regrouped) and split in dataset.builder.places:
        return list(dataset.builder.places[split])
    return [(split, row) for row in range(dataset.splits.get(split, 0))]
