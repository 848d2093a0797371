"""The corpora that can be prepared. Each module finds the clips of one layout and reads its tables."""

import dataclasses
from collections.abc import Mapping

from data_prep.clips.clip import ClipSource
from data_prep.features.source import Schema

SPLITS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The clips of a corpus and what holds for all of them.

    Attributes:
        name: one of `data_prep.corpora.reading.CORPORA`.
        label_names: the K labels, in order.
        label_range: lowest and highest label in the users' units; clips carry labels scaled to [0, 1].
        clips: all clips that the tables name, and those of unlabelled splits; (split, id) is unique.
        ceiling: split -> label -> the Pearson correlation that no model can exceed; known for synthetic data only.
        notes: remarks for the report.
        features: by modality with the user's own features, what those of all clips have in common.
    """

    name: str
    label_names: tuple[str, ...]
    label_range: tuple[float, float]
    clips: tuple[ClipSource, ...]
    ceiling: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    features: Mapping[str, Schema] = dataclasses.field(default_factory=dict)
