"""The `emi` dataset on disk: ArrayRecord files read through TFDS, without TensorFlow."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import tensorflow_datasets as tfds

from emi_jax.errors import UserError

NAME, VERSION = "emi", "1.1.0"

Example = Mapping[str, Any]


class Examples(Protocol):
    """Random access to the examples of a split; one example is documented in `data_prep.build.dataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A built dataset and what travels with it.

    Attributes:
        directory: the folder that was given to `data_prep` as `--out`.
        label_names: the K names, in the order of every `[.., K]` array.
        label_range: lowest and highest value of the labels in the users' own units; stored labels lie in [0, 1].
        clip_options: how its clips were read, the fields of `data_prep.clips.options.ClipOptions`; new clips for a
            model trained on it are read in the same way.
        available: how many clips of each split have "vision", "audio", "text", "labels"; empty where unknown.
        ceiling: per split and label, the Pearson correlation that a perfect model would reach; empty where unknown.
        fingerprint: a hash of the content.
        splits: names of the splits, with their number of clips.
    """

    directory: Path
    label_names: tuple[str, ...]
    label_range: tuple[float, float]
    clip_options: Mapping[str, Any]
    available: Mapping[str, Mapping[str, int]]
    ceiling: Mapping[str, Mapping[str, float]]
    fingerprint: str
    splits: Mapping[str, int]
    builder: tfds.core.DatasetBuilder | None = dataclasses.field(repr=False)

    @classmethod
    def described(
        cls, label_names: Sequence[str], label_range: Sequence[float], clip_options: Mapping[str, Any]
    ) -> "Dataset":
        """What travels with a dataset, without its clips: enough for a trained model to be used."""
        low, high = label_range
        return cls(Path(), tuple(label_names), (low, high), clip_options, {}, {}, "", {}, None)

    def description(self) -> dict[str, Any]:
        """What `described` takes; JSON-able."""
        return {name: getattr(self, name) for name in ("label_names", "label_range", "clip_options")}

    def lacks(self, split: str, what: str) -> bool:
        """Whether no clip of a split is known to have "vision", "audio", "text" or "labels"."""
        return not self.available.get(split, {}).get(what, 1)

    def to_score(self, what: str) -> str:
        """The split that a trained model is scored on: test, or valid where no clip of test has what scores need."""
        return "valid" if not self.splits.get("test") or self.lacks("test", what) else "test"

    def split(self, name: str) -> Examples:
        """The examples of one split.

        Raises:
            UserError: there is no such split, or it is empty.
        """
        if not self.splits.get(name):
            known = ", ".join(f"{split} ({count} clips)" for split, count in self.splits.items())
            raise UserError(f"dataset {self.directory}: no clips in split {name!r}; it has {known}")
        assert self.builder is not None  # it is where there are splits
        return self.builder.as_data_source(name)


def open_dataset(directory: str | Path, how_to_make: str) -> Dataset:
    """Opens a dataset that `data_prep` has built.

    Args:
        directory: the folder given to `data_prep` as `--out`.
        how_to_make: the command that makes it, told when it is missing.

    Raises:
        UserError: there is no dataset in the folder.
    """
    directory = Path(directory)
    built = directory / NAME / VERSION
    if not (built / "dataset_info.json").exists():
        raise UserError(f"no dataset in {directory} (expected {built}); make it with: {how_to_make}")
    builder = tfds.builder_from_directory(str(built))
    metadata = builder.info.metadata
    low, high = metadata["label_range"]
    return Dataset(
        directory=directory,
        label_names=tuple(metadata["label_names"]),
        label_range=(float(low), float(high)),
        clip_options=metadata["clip_options"],
        available=metadata["available"],
        ceiling=metadata.get("ceiling") or {},
        fingerprint=metadata["fingerprint"],
        splits={name: info.num_examples for name, info in builder.info.splits.items()},
        builder=builder,
    )


def clip_id(example: Example) -> str:
    """The clip's name, as in the corpus' CSV."""
    return _text(example["id"])


def subject(example: Example) -> str:
    """Who is seen and heard; empty when unknown."""
    return _text(example["subject"])


def transcript(example: Example) -> str:
    """The clip's words; empty when it has none."""
    return _text(example["transcript"])


def transcripts(examples: Examples) -> Sequence[str]:
    """All non-empty transcripts of a split, in its order."""
    return [text for index in range(len(examples)) if (text := transcript(examples[index]).strip())]


def normalise(text: str) -> str:
    """The form in which two transcripts are compared: case, punctuation and spacing do not count."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _text(value: bytes | str) -> str:
    """Text as TFDS gives it back, bytes, or as `data_prep` made it."""
    return value if isinstance(value, str) else bytes(value).decode()
