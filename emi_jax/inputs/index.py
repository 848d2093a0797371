"""A dataset's index: the id, subject and transcript of each clip, read without its pictures and sound.

ArrayRecord reads whole records, megabytes for each clip; the index of 10,000 clips is one file of a megabyte.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow_datasets as tfds

from emi_jax.errors import UserError
from emi_jax.files import read_json, write_json

FILE = "index.json"
TEXTS = ("id", "subject", "transcript")

Index = Mapping[str, Sequence[Mapping[str, str]]]
"""The texts of the clips of each split, in the order of its records."""


def write_index(folder: Path, builder: tfds.core.DatasetBuilder) -> None:
    """Writes the index of a complete dataset into its folder."""
    features = tfds.features.FeaturesDict({name: builder.info.features[name] for name in TEXTS})
    index = {}
    for split in builder.info.splits:
        records = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        examples = map(features.deserialize_example_np, records)
        index[split] = [{name: example[name].decode() for name in TEXTS} for example in examples]
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
    return isinstance(row, dict) and row.keys() == set(TEXTS) and all(isinstance(text, str) for text in row.values())
