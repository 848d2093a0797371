"""The TFDS dataset `emi`: examples as ArrayRecord files, written and read without TensorFlow.

One example:

    id          bytes                the clip's name
    faces       N times bytes        JPEG face crops, RGB, face_size x face_size pixels, undecoded
    times       float32 [N]          seconds since the clip's start
    face_found  bool [N]             whether the crop counts as a face; where False, it shows the last known position of
                                     the face, or the middle of the picture. In a clip without any face,
                                     --no-face=centre sets all to True.
    landmarks   float32 [N, 5, 2]    in each crop, x to the right and y down in shares of its side (may lie outside
                                     0..1): the person's right eye, left eye, nose tip, right and left corner of the
                                     mouth; NaN where the face was not found or the detector gives no landmarks
    audio       int16 [M]            mono, 16 kHz; [0] when there is no track
    transcript  bytes                UTF-8; empty when there are no words
    word_times  float32 [W, 2]       start and end in seconds of each whitespace-separated word of the
                                     transcript; [0, 2] where unknown
    labels      float32 [K]          in [0, 1]; NaN where unknown
    subject     bytes                empty when unknown

With a user's own features of a modality, vision, audio or text (the metadata `features` names them), also:

    {modality}_features       float32 [T, D]   the valid rows, in the users' units; [0, D] when there are none
    {modality}_feature_times  float32 [T]      their ascending times in seconds since the clip's start
"""

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from data_prep.errors import CorpusError
from emi_jax.errors import UserError
from emi_jax.inputs.dataset import open_builder
from emi_jax.inputs.index import write_index

BUILDING, OLDER = ".building", ".older"
"""Temporary folders next to the dataset while it is written and replaced."""
DISK = errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO
"""Errors of a disk, which ArrayRecord names in errors of its own."""

Examples = Callable[[], Iterator[tuple[str, Mapping[str, Any]]]]


class Emi(tfds.core.GeneratorBasedBuilder):
    """Writes the given examples as the dataset `emi`."""

    VERSION = tfds.core.Version("1.3.0")
    code_path = None  # TFDS would look next to this file for checksums of downloads; there are none

    def __init__(self, splits: Mapping[str, Examples], metadata: Mapping[str, Any], data_dir: Path):
        self._splits, self._metadata = splits, dict(metadata)
        super().__init__(data_dir=str(data_dir), file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        feature = tfds.features
        labels = len(self._metadata["label_names"])
        own: dict[str, tuple[int | None, ...]] = {}
        for modality, features in self._metadata.get("features", {}).items():
            own |= {f"{modality}_features": (None, features["width"]), f"{modality}_feature_times": (None,)}
        features = feature.FeaturesDict(
            {
                "id": feature.Text(),
                "faces": feature.Sequence(feature.Text()),  # undecoded bytes; Image would decode them on reading
                "times": feature.Tensor(shape=(None,), dtype=np.float32, encoding="bytes"),
                "face_found": feature.Tensor(shape=(None,), dtype=np.bool_, encoding="bytes"),
                "landmarks": feature.Tensor(shape=(None, 5, 2), dtype=np.float32, encoding="bytes"),
                "audio": feature.Tensor(shape=(None,), dtype=np.int16, encoding="bytes"),
                "transcript": feature.Text(),
                "word_times": feature.Tensor(shape=(None, 2), dtype=np.float32, encoding="bytes"),
                "labels": feature.Tensor(shape=(labels,), dtype=np.float32, encoding="bytes"),
                "subject": feature.Text(),
            }
            | {name: feature.Tensor(shape=shape, dtype=np.float32, encoding="bytes") for name, shape in own.items()}
        )
        return tfds.core.DatasetInfo(builder=self, features=features, metadata=tfds.core.MetadataDict(self._metadata))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        del dl_manager  # everything is on disk already
        return {split: examples() for split, examples in self._splits.items()}

    def _generate_examples(self, **unused: Any) -> Iterator:
        raise NotImplementedError("splits bring their own generators")


def dataset_path(out: Path) -> Path:
    """The dataset's folder inside the folder given as --out."""
    return out / "emi" / str(Emi.VERSION)


def write_dataset(out: Path, splits: Mapping[str, Examples], metadata: Mapping[str, Any]) -> Path:
    """Writes the dataset to a temporary folder, then moves it into place when complete, replacing any older one.

    Call `clear_leftovers` first.

    Args:
        out: the data folder.
        splits: for each split, a function that yields (key, example).
        metadata: what `emi_jax` reads in addition to the examples; JSON-serialisable.
    """
    building, older = out / BUILDING, out / OLDER
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            Emi(splits, metadata, building).download_and_prepare()
    except (RuntimeError, ValueError) as error:  # ArrayRecord wraps the system's errors in these
        if of_disk := [text for text in map(os.strerror, DISK) if text.lower() in str(error).lower()]:
            raise OSError(f"{building}: {of_disk[0]}") from error
        raise
    write_index(dataset_path(building), open_builder(dataset_path(building)))
    final = dataset_path(out)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        final.rename(older)  # atomic: a partly deleted folder would look like a dataset
    dataset_path(building).rename(final)
    clear_leftovers(out)
    return final


def clear_leftovers(out: Path) -> None:
    """Deletes what an interrupted `write_dataset` left behind, and the old dataset that a finished one replaced."""
    for name in (BUILDING, OLDER):
        shutil.rmtree(out / name, ignore_errors=True)


def open_dataset(out: Path) -> tfds.core.DatasetBuilder:
    """The dataset in a data folder, for reading with `as_data_source(split)`.

    Raises:
        CorpusError: it cannot be read, or names classes that are not TFDS's own.
    """
    try:
        return open_builder(dataset_path(out))
    except UserError as error:
        raise CorpusError(str(error)) from error
