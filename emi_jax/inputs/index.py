"""A dataset's index: the texts and lengths of each clip, read without its pictures and sound.

ArrayRecord reads whole records, megabytes for each clip; the index of 10,000 clips is one file of a megabyte.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from emi_jax.errors import UserError
from emi_jax.files import read_json, write_json

FILE = "index.json"
TEXTS = ("id", "subject", "transcript")
OWN = "_features"
"""How the names of the user's own features end in an example."""

Row = Mapping[str, Any]
"""What the index holds of a clip: its `id`, `subject` and `transcript`; `samples`, the number of its samples of sound;
and `steps`, {modality: number of steps} of the user's own features."""
Index = Mapping[str, Sequence[Row]]
"""The rows of the clips of each split, in the order of its records."""


def row_of(example: Mapping[str, Any]) -> Row:
    """The row of an example as TFDS reads it."""
    steps = {name.removesuffix(OWN): len(array) for name, array in example.items() if name.endswith(OWN)}
    texts = {name: example[name].decode(errors="replace") for name in TEXTS}
    return texts | {"samples": len(example["audio"]), "steps": steps}


def write_index(folder: Path, builder: tfds.core.DatasetBuilder) -> None:
    """Writes the index of a complete dataset into its folder."""
    names = [name for name in builder.info.features if name in (*TEXTS, "audio") or name.endswith(OWN)]
    features = tfds.features.FeaturesDict({name: builder.info.features[name] for name in names})
    index = {}
    for split in builder.info.splits:
        records = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        index[split] = [row_of(features.deserialize_example_np(record)) for record in records]
    write_json(folder / FILE, index)


def read_index(folder: Path, counts: Mapping[str, int]) -> Index:
    """Reads the index in a dataset's folder.

    Args:
        folder: the folder.
        counts: number of clips of each split.

    Raises:
        UserError: the index is missing, or is not that of the dataset.
    """
    try:
        index = read_json(folder / FILE)
    except OSError as error:
        raise UserError(f"{folder / FILE} cannot be read ({error.strerror}); prepare the dataset again") from error
    for split, count in counts.items():
        rows = index.get(split)
        if not isinstance(rows, list) or len(rows) != count or not all(map(_is_row, rows)):
            raise UserError(
                f"{folder / FILE} is not the index of the {count} clips of {split}; prepare the dataset again"
            )
    return index


def _is_row(row: object) -> bool:
    if not isinstance(row, dict) or row.keys() != {*TEXTS, "samples", "steps"} or not isinstance(row["steps"], dict):
        return False
    lengths = row["samples"], *row["steps"].values()
    return all(isinstance(row[name], str) for name in TEXTS) and all(type(length) is int for length in lengths)
