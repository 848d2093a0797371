"""The `emi` dataset on disk: ArrayRecord files read through TFDS, without TensorFlow."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds

from emi_jax.errors import UserError
from emi_jax.files import read_json
from emi_jax.inputs.index import Index, read_index
from emi_jax.modalities import SAMPLE_RATE

NAME, VERSION = "emi", "1.3.0"

TFDS_FEATURES = "tensorflow_datasets.core.features."
"""The package of TFDS's feature classes."""
FEATURE_FIELDS = (
    *("pythonClassName", "featuresDict", "sequence", "feature", "length", "tensor", "text"),
    *("dtype", "encoding", "shape", "dimensions"),
)
"""The fields of `features.json` for the features of `emi`; other fields could hide a class name."""

Example = Mapping[str, Any]


class Examples(Protocol):
    """Random access to the examples of a split; one example is documented in `data_prep.build.dataset`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


class Splits(Protocol):
    """The splits of a dataset, by name."""

    def as_data_source(self, split: str, /) -> Examples:
        """The examples with all their features."""

    def index(self, split: str, /) -> Examples:
        """The rows of the index for the examples."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset built by `data_prep`, with its metadata.

    Attributes:
        directory: the folder given to `data_prep` as `--out`.
        label_names: the K label names, in the order of every `[.., K]` array.
        label_range: lowest and highest value of the labels in the users' own units; stored labels lie in [0, 1].
        corpus: name of the corpus from which it was made.
        clip_options: how its clips were read, as the fields of `data_prep.clips.options.ClipOptions`; new clips for a
            model trained on it are read in the same way.
        available: number of clips of each split that have "vision", "audio", "text", "labels"; empty if unknown.
        ceiling: per split and label, the Pearson correlation that a perfect model would reach; empty if unknown.
        fingerprint: a hash of the content, independent of the dataset's location.
        features: the user's own features by modality: "width" D, the "names" of their columns, and their "source".
        splits: number of clips of each split, by name.
        builder: reads the splits; None if there are none.
    """

    directory: Path
    label_names: tuple[str, ...]
    label_range: tuple[float, float]
    corpus: str
    clip_options: Mapping[str, Any]
    available: Mapping[str, Mapping[str, int]]
    ceiling: Mapping[str, Mapping[str, float]]
    fingerprint: str
    features: Mapping[str, Mapping[str, Any]]
    splits: Mapping[str, int]
    builder: Splits | None = dataclasses.field(repr=False)

    @classmethod
    def described(
        cls,
        label_names: Sequence[str],
        label_range: Sequence[float],
        corpus: str,
        clip_options: Mapping[str, Any],
        fingerprint: str,
        features: Mapping[str, Mapping[str, Any]],
    ) -> "Dataset":
        """A dataset with metadata but no clips, which is enough to use a trained model."""
        low, high = label_range
        return cls(
            Path(), tuple(label_names), (low, high), corpus, clip_options, {}, {}, fingerprint, features, {}, None
        )

    def description(self) -> dict[str, Any]:
        """The metadata that `described` accepts; JSON-serialisable."""
        names = ("label_names", "label_range", "corpus", "clip_options", "fingerprint", "features")
        return {name: getattr(self, name) for name in names}

    def lacks(self, split: str, what: str) -> bool:
        """Whether a split is known to have no clip with "vision", "audio", "text" or "labels"."""
        return not self.available.get(split, {}).get(what, 1)

    def to_score(self, what: str) -> str:
        """The split that a trained model is scored on: test, or valid if no test clip has what the scores need."""
        return "valid" if not self.splits.get("test") or self.lacks("test", what) else "test"

    def split(self, name: str) -> Examples:
        """The examples of one split.

        Raises:
            UserError: there is no such split, or it is empty.
        """
        return self._splits(name).as_data_source(name)

    def index(self, name: str) -> Examples:
        """The texts and lengths of the examples of one split, without reading pictures and sound.

        Raises:
            UserError: there is no such split, or it is empty.
        """
        return self._splits(name).index(name)

    def _splits(self, name: str) -> Splits:
        if not self.splits.get(name):
            known = ", ".join(f"{split} ({count} clips)" for split, count in self.splits.items())
            raise UserError(f"dataset {self.directory}: no clips in split {name!r}; it has {known}")
        assert self.builder is not None  # set whenever there are splits
        return self.builder


def open_dataset(directory: str | Path, how_to_make: str, corpus: str = "") -> Dataset:
    """Opens a dataset that `data_prep` has built.

    Args:
        directory: the folder given to `data_prep` as `--out`.
        how_to_make: the command that makes the dataset, for the error message if it is missing.
        corpus: name of the corpus from which it must be made; empty for any.

    Raises:
        UserError: the folder holds no dataset, or one that cannot be read or was made from another corpus.
    """
    directory = Path(directory)
    built = directory / NAME / VERSION
    if not (built / "dataset_info.json").exists():
        raise UserError(f"no dataset in {directory} (expected {built}); make it with: {how_to_make}")
    builder = open_builder(built)
    metadata, splits = builder.info.metadata, {name: info.num_examples for name, info in builder.info.splits.items()}
    try:
        low, high = metadata["label_range"]
        dataset = Dataset(
            directory=directory,
            label_names=tuple(metadata["label_names"]),
            label_range=(float(low), float(high)),
            corpus=metadata["corpus"],
            clip_options=metadata["clip_options"],
            available=metadata["available"],
            ceiling=metadata.get("ceiling") or {},
            fingerprint=metadata["fingerprint"],
            features=metadata.get("features") or {},
            splits=splits,
            builder=_Built(builder, read_index(built, splits)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{built / 'metadata.json'} is not that of a dataset: {error!r}; prepare it again") from error
    if corpus and dataset.corpus != corpus:
        raise UserError(
            f"dataset {directory} was made from the corpus {dataset.corpus!r}, and config.data.corpus is {corpus!r}: "
            f"set --config.data.corpus={dataset.corpus}, or the path of another dataset in --config.data.dir"
        )
    return dataset


def open_builder(built: Path) -> tfds.core.DatasetBuilder:
    """The TFDS builder of the dataset in a folder, for reading with `as_data_source(split)`.

    TFDS imports the modules that `features.json` names. A dataset may come from an untrusted source, so any class that
    is not part of TFDS is rejected first.

    Raises:
        UserError: a file of the dataset is missing, cannot be parsed, or names a class that is not part of TFDS.
    """
    try:
        for name in ("dataset_info.json", "metadata.json"):
            read_json(built / name)
        for fault in _unknown_features(read_json(built / "features.json")):
            raise UserError(f"{built / 'features.json'} holds {fault}, which is not part of this format: refused")
        return tfds.builder_from_directory(str(built))
    except UserError:
        raise
    except Exception as error:  # protobuf, TFDS and the disk each raise different errors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"dataset {built} cannot be opened: {reason}; prepare it again") from error


def _unknown_features(node: Any) -> Iterator[str]:
    """Describes the content of a `features.json` node that `data_prep` would not write."""
    if isinstance(node, list):
        for item in node:
            yield from _unknown_features(item)
    elif isinstance(node, dict):
        for field, value in node.items():
            if field == "featuresDict" and isinstance(value, dict) and value.keys() == {"features"}:
                value = list(dict(value["features"]).values())  # its keys are arbitrary names
            elif field == "pythonClassName" and not str(value).startswith(TFDS_FEATURES):
                yield f"the class {value!r}"
            elif field not in FEATURE_FIELDS or field == "featuresDict":
                yield f"the field {field!r}"
            yield from _unknown_features(value)


@dataclasses.dataclass(frozen=True)
class _Built:
    """The splits of a dataset on disk."""

    builder: tfds.core.DatasetBuilder
    rows: Index

    def as_data_source(self, split: str) -> Examples:
        return _Records(self.builder.as_data_source(split), Path(self.builder.data_path), split)

    def index(self, split: str) -> Examples:
        return self.rows[split]


@dataclasses.dataclass(frozen=True)
class _Records:
    """The examples of a split; errors name a damaged record."""

    examples: Any
    folder: Path
    split: str

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        try:
            return self.examples[index]
        except (RuntimeError, OSError) as error:  # ArrayRecord wraps the system's errors in RuntimeError
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{self.folder}, split {self.split}: clip number {index} cannot be read ({reason}). Copy the dataset "
                "again, or prepare it again"
            ) from error


def clip_id(example: Example) -> str:
    """The clip's name, as in the corpus's CSV."""
    return _text(example["id"])


def subject(example: Example) -> str:
    """The person in the clip; empty if unknown."""
    return _text(example["subject"])


def transcript(example: Example) -> str:
    """The clip's words; empty if it has none."""
    return _text(example["transcript"])


def seconds(example: Example) -> float:
    """The length of what is known of a clip: its sound, pictures or timed words; 0 if nothing has a time."""
    ends = [len(example["audio"]) / SAMPLE_RATE]
    ends += [float(np.max(times)) for name in ("times", "word_times") if (times := np.asarray(example[name])).size]
    return max(ends)


def transcripts(examples: Examples) -> Sequence[str]:
    """All non-empty transcripts of a split, in order."""
    return [text for index in range(len(examples)) if (text := transcript(examples[index]).strip())]


def normalise(text: str) -> str:
    """Normalises a transcript for comparison: case, punctuation and spacing are ignored."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def _text(value: bytes | str) -> str:
    """Text from bytes, as TFDS reads it, or from a string, as `data_prep` makes it."""
    return value if isinstance(value, str) else bytes(value).decode()
