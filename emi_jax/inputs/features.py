"""The feature cache: the frozen encoders' features of each clip, read instead of the clip.

A split is one ArrayRecord file of clean clips and, for training, one file for each corrupted rendition: a corrupted
copy of every clip, with flags that mark the corrupted steps. A record is a safetensors blob of one clip's arrays:
`{modality}/features` [t, D] (float16, users' own float32), `.../mask`, `.../clean`, `.../supervised` and `.../times`
[t], and the clip's other arrays.
"""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from safetensors.numpy import load, save

from emi_jax.descriptors.statistics import pooled_statistics
from emi_jax.errors import UserError
from emi_jax.files import lock, read_json, whole_file, write_json
from emi_jax.inputs.corruption import segment
from emi_jax.inputs.transforms import Arrays
from emi_jax.modalities import MODALITIES, STEPWISE

log = logging.getLogger(__name__)

CLEAN = "clean"


def corrupted(rendition: int) -> str:
    """The name of a corrupted rendition."""
    return f"corrupted-{rendition}"


class FeatureCache:
    """A folder of cached features for one combination of weights, preprocessing and data."""

    def __init__(self, folder: str | Path, fingerprints: Mapping[str, str]):
        """Opens the folder, which may be empty.

        Args:
            folder: the folder of the cache.
            fingerprints: a hash of weights, preprocessing and data, by modality in use. The folder may hold features of
                further modalities.

        Raises:
            UserError: the folder holds features but, for a modality in use, different ones or none.
        """
        self.folder = Path(folder)
        self._facts, self._fingerprints = self.folder / "features.json", dict(fingerprints)
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

    def has(self, split: str, rendition: str) -> bool:
        """Whether a rendition of a split is complete. An empty file, as left by a machine crash, is not."""
        path = self._path(split, rendition)
        return path.exists() and path.stat().st_size > 0

    def write(self, split: str, rendition: str, clips: Iterable[Arrays]) -> None:
        """Writes a rendition of a split, complete or not at all.

        Raises:
            UserError: the folder also holds features of modalities not in use, or cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if further := self._stored().keys() - self._fingerprints.keys():
            raise UserError(
                f"features in {self.folder} also hold {', '.join(sorted(further))}, which this run does not use: "
                f"write those of {split} with a run that uses all of them, or name another folder with "
                "--config.features.dir"
            )
        write_json(self._facts, {"fingerprints": self._fingerprints})
        with whole_file(self._path(split, rendition)) as partial:
            writer = ArrayRecordWriter(str(partial), "group_size:1")
            try:
                for clip in clips:
                    record = save({name: np.array(array, order="C") for name, array in clip.items()})
                    with self._reported():
                        writer.write(record)
            finally:
                with self._reported():  # closing writes the last records
                    writer.close()

    def read(self, split: str, renditions: Sequence[str]) -> "CachedClips":
        """The clips of a split in the given renditions, the first of which is the clean one.

        Raises:
            UserError: a file is damaged.
        """
        return CachedClips([_Records(self._path(split, name)) for name in renditions])

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
        if not (found := self._stored()):
            return
        advice = "delete the folder, or name another with --config.features.dir"
        for modality, expected in self._fingerprints.items():
            if modality not in found:
                raise UserError(f"features in {self.folder} are of {', '.join(found)} and lack {modality}; {advice}")
            if found[modality] != expected:
                raise UserError(
                    f"features in {self.folder} were made from other weights, preprocessing or data ({modality}: "
                    f"fingerprint {found[modality][:12]}, expected {expected[:12]}); {advice}"
                )

    def _stored(self) -> dict[str, str]:
        """The fingerprints in the folder; empty if it is new."""
        try:
            return read_json(self._facts)["fingerprints"]
        except FileNotFoundError:
            return {}
        except (UserError, KeyError):
            if any(self.folder.glob("*.array_record")):
                raise UserError(
                    f"{self._facts} is cut off, so that it is unknown what the features there were made from: delete "
                    "the folder, or name another with --config.features.dir"
                ) from None
            log.warning("%s is cut off and will be rewritten", self._facts)
            return {}

    def _path(self, split: str, rendition: str) -> Path:
        return self.folder / f"{split}-{rendition}.array_record"


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


@dataclasses.dataclass(frozen=True)
class CachedClips:
    """Random access to the cached clips of a split: each a function from a rendition's number (0: clean) to arrays."""

    sources: list
    _pooled: dict[tuple[int, str], np.ndarray] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.sources[0])

    def __getitem__(self, index: int) -> "CachedClip":
        return CachedClip(self.sources, index, self._pooled)


@dataclasses.dataclass(frozen=True)
class CachedClip:
    """One clip, whose renditions are read on demand."""

    sources: list
    index: int
    _pooled: dict[tuple[int, str], np.ndarray] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def rendition(self, number: int) -> Arrays:
        """The arrays of a rendition, 0 for the clean one."""
        return load(self.sources[number][self.index])

    def pooled(self, modality: str) -> np.ndarray:
        """The statistics over time of a modality in the clean rendition, [6 D], computed once for each clip."""
        if (self.index, modality) not in self._pooled:
            arrays = self.rendition(0)
            statistics = pooled_statistics(arrays[f"{modality}/features"], arrays[f"{modality}/mask"])
            self._pooled[self.index, modality] = statistics
        return self._pooled[self.index, modality]


@dataclasses.dataclass(frozen=True)
class CachedTransform:
    """Turns a cached clip into the arrays of one place in a batch.

    Attributes:
        modalities: the modalities in use; the cache may hold more.
        template: any clip's arrays, for the shapes of padding.
        corrupt: in training, the probability that a segment of a modality comes from a corrupted rendition.
        moments: further arrays for each clip, by its row: the moments of its subject.
        pooled: whether to add the statistics over time of each modality, `{modality}/pooled` float32 [6 D].
    """

    modalities: tuple[str, ...]
    template: Mapping[str, np.ndarray]
    corrupt: float = 0.0
    moments: Sequence[Mapping[str, np.ndarray]] = ()
    pooled: bool = False

    def __call__(self, clip: CachedClip, rng: np.random.Generator, index: int) -> Arrays:
        """The arrays of one clip, without the batch axis."""
        arrays = self._used(clip.rendition(0))
        for modality in self.modalities:
            mask = arrays[f"{modality}/mask"]
            corrupted = mask.any() and rng.random() < self.corrupt
            if corrupted:
                steps = segment(rng, mask)
                other = clip.rendition(int(rng.integers(1, len(clip.sources))))
                for name in STEPWISE:
                    key = f"{modality}/{name}"
                    arrays[key] = arrays[key].copy()
                    arrays[key][steps] = other[key][steps]
            if self.pooled:
                features = arrays[f"{modality}/features"]
                arrays[f"{modality}/pooled"] = pooled_statistics(features, mask) if corrupted else clip.pooled(modality)
        arrays["clip"] = np.asarray(clip.index, np.int32)  # in this split; the record's own is that of the cached one
        return arrays | dict(self.moments[clip.index]) if self.moments else arrays

    @functools.cached_property
    def padding(self) -> Arrays:
        """The arrays of an unused place in a batch: nothing is present, known or valid."""
        moments = self.moments[0] if self.moments else {}
        empty = {name: np.zeros_like(array) for name, array in self._used(self.template).items()}
        empty |= {name: np.ones_like(array) for name, array in moments.items()}
        if self.pooled:
            widths = {name: empty[f"{name}/features"].shape[-1] for name in self.modalities}
            empty |= {f"{name}/pooled": np.zeros(6 * width, np.float32) for name, width in widths.items()}
        return empty | {"clip": np.asarray(-1, np.int32)}

    def _used(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """The arrays without the steps of modalities that are not in use."""
        return {name: array for name, array in arrays.items() if name.partition("/")[0] not in self._unused}

    @functools.cached_property
    def _unused(self) -> set[str]:
        return set(MODALITIES) - set(self.modalities)


def rows(outputs: Iterable[Mapping[str, np.ndarray]]) -> Iterator[Arrays]:
    """The valid clips of a sequence of batches, one by one."""
    for batch in outputs:
        for place in np.flatnonzero(batch["valid"]):
            yield {name: array[place] for name, array in batch.items()}
