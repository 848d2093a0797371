"""The feature cache: the frozen encoders' features of each clip, read instead of the clip.

Each modality has a folder of its own, so that runs that freeze different encoders share what they have in common. It
holds one ArrayRecord file of the clean clips of a split and, for training, one for each rendition: a corrupted or an
augmented copy of every clip, or both, with flags that mark the corrupted steps. A record is a safetensors blob of one
clip's arrays: what the stage keeps of the modality, `{modality}/...`, in stage 2 `features` [t, ...] (float16, users'
own float32), `mask`, `clean`, `supervised` and `times` [t], and the clip's other arrays.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from safetensors.numpy import save

from emi_jax.errors import UserError
from emi_jax.files import lock, read_json, whole_file, write_json
from emi_jax.inputs.augmentation import Augmentation
from emi_jax.inputs.cached import CachedClips
from emi_jax.inputs.transforms import Arrays
from emi_jax.modalities import MODALITIES

log = logging.getLogger(__name__)

CLEAN = "clean"
FACTS = "features.json"
Write = Callable[[int, bytes], None]
"""Writes the record of a clip, which is given with its row in the split."""
ADVICE = "delete the folder, or name another with --config.features.dir"


def corrupted(rendition: int) -> str:
    """The name of a corrupted rendition."""
    return f"corrupted-{rendition}"


def augmented(augmentation: Augmentation, rendition: int) -> str:
    """The name of an augmented rendition; other settings give other names."""
    settings = json.dumps(dataclasses.asdict(augmentation))
    return f"augmented-{hashlib.sha256(settings.encode()).hexdigest()[:8]}-{rendition}"


class FeatureCache:
    """A folder of cached features of some modalities, each for one combination of weights, preprocessing and data."""

    def __init__(self, folder: str | Path, fingerprints: Mapping[str, str]):
        """Opens the folder, which may be empty or hold features of further modalities.

        Args:
            folder: the folder of the cache.
            fingerprints: a hash of weights, preprocessing and data, by modality in use.

        Raises:
            UserError: the folder holds other features of a modality in use.
        """
        self.folder = Path(folder)
        self._fingerprints = dict(fingerprints)
        self._check_fingerprints()

    @contextlib.contextmanager
    def sole_writer(self) -> Iterator[None]:
        """Lets one process write at a time; a second one waits, and then finds what the first wrote.

        Raises:
            UserError: the other process wrote features that this run cannot use.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with lock(self.folder, wait=True):
            self._check_fingerprints()
            yield

    def has(self, modality: str, split: str, rendition: str) -> bool:
        """Whether a rendition of a split is complete. An empty file, as left by a machine crash, is not."""
        path = self._path(modality, split, rendition)
        return path.exists() and path.stat().st_size > 0

    def write(self, split: str, rendition: str, clips: Iterable[Arrays], modalities: Sequence[str]) -> None:
        """Writes a rendition of a split for some modalities, complete or not at all.

        Clips may come in any order and are stored in that of the split. Until those that came in another order are in
        place, they take twice the room.

        Raises:
            UserError: the folder cannot be written.
        """
        with contextlib.ExitStack() as files:
            writers = {}
            for modality in modalities:
                path = self._path(modality, split, rendition)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path.with_name(FACTS), {"fingerprint": self._fingerprints[modality]})
                writers[modality] = files.enter_context(self._writer(path))
            for clip in clips:
                for modality, write in writers.items():
                    record = save({name: np.array(array, order="C") for name, array in _part(clip, modality).items()})
                    write(int(clip["clip"]), record)

    def read(self, split: str, renditions: Sequence[str]) -> CachedClips:
        """The clips of a split in the given renditions, the first of which is the clean one.

        Raises:
            UserError: a file is damaged.
        """
        return CachedClips(
            {
                modality: [_Records(self._path(modality, split, name)) for name in renditions]
                for modality in self._fingerprints
            }
        )

    @contextlib.contextmanager
    def _writer(self, path: Path) -> Iterator[Write]:
        """Writes a file of records that is sorted by row."""
        received, rows = path.with_name(f".{uuid.uuid4().hex}.received"), list[int]()
        try:
            with self._records(received) as append:

                def write(row: int, record: bytes) -> None:
                    rows.append(row)
                    append(record)

                yield write
            with whole_file(path) as partial:
                if rows == sorted(rows):
                    received.replace(partial)
                else:
                    records = _Records(received)
                    with self._records(partial) as append:
                        for place in np.argsort(rows):
                            append(records[int(place)])
        finally:
            received.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _records(self, path: Path) -> Iterator[Callable[[bytes], None]]:
        """Appends records to a new file."""
        writer = ArrayRecordWriter(str(path), "group_size:1")

        def append(record: bytes) -> None:
            with self._reported():
                writer.write(record)

        try:
            yield append
        finally:
            with self._reported():  # closing writes the last records
                writer.close()

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """Reports in one line what could not be written; the writer itself raises a plain RuntimeError."""
        try:
            yield
        except RuntimeError as error:
            raise UserError(
                f"features could not be written to {self.folder}: {str(error).partition(chr(10))[0]}. Those that are "
                "complete stay: fix the cause and rerun the same command, or name another folder with "
                "--config.features.dir"
            ) from error

    def _check_fingerprints(self) -> None:
        for modality, expected in self._fingerprints.items():
            folder, found = self.folder / modality, self._stored(modality)
            if found and found != expected:
                raise UserError(
                    f"features in {folder} were made from other weights, preprocessing or data (fingerprint "
                    f"{found[:12]}, expected {expected[:12]}); {ADVICE}"
                )

    def _stored(self, modality: str) -> str:
        """The fingerprint of a modality in the folder; "" if it is new."""
        path = self.folder / modality / FACTS
        try:
            return read_json(path)["fingerprint"]
        except FileNotFoundError:
            return ""
        except (UserError, KeyError):
            if any(path.parent.glob("*.array_record")):
                raise UserError(
                    f"{path} is cut off, so that it is unknown what the features there were made from: {ADVICE}"
                ) from None
            log.warning("%s is cut off and will be rewritten", path)
            return ""

    def _path(self, modality: str, split: str, rendition: str) -> Path:
        return self.folder / modality / f"{split}-{rendition}.array_record"


class _Records:
    """Random access to the records of a file; errors name a damaged file."""

    def __init__(self, path: Path):
        self._path = path
        with self._named():
            self._source = grain.sources.ArrayRecordDataSource(str(path))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> bytes:
        with self._named():
            return self._source[index]

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # the library raises no other error, and sometimes gives no message
            reason = f" ({str(error).partition(';')[0]})" if str(error) else ""
            raise UserError(
                f"{self._path} is damaged{reason}: delete it and rerun the same command, which writes it again"
            ) from error


def rows(outputs: Iterable[Mapping[str, np.ndarray]], shapes: Mapping[str, Sequence[int]]) -> Iterator[Arrays]:
    """The valid clips of a sequence of batches, one by one.

    Args:
        outputs: the batches.
        shapes: of a clip's arrays, by name; those of a batch of short clips are filled up with zeros.
    """
    for batch in outputs:
        for place in np.flatnonzero(batch["valid"]):
            yield {name: _filled(array[place], shapes.get(name, array.shape[1:])) for name, array in batch.items()}


def _filled(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """An array with zeros at the end of each axis, up to a shape."""
    missing = [(0, full - size) for full, size in zip(shape, array.shape, strict=True)]
    return np.pad(array, missing) if np.any(missing) else array


def _part(clip: Arrays, modality: str) -> Arrays:
    """A clip's arrays as far as they concern one modality; `present` says nothing of the others."""
    part = {name: array for name, array in clip.items() if name.partition("/")[0] == modality or "/" not in name}
    if "present" in part:
        part["present"] = part["present"] & (np.array(MODALITIES) == modality)
    return part
