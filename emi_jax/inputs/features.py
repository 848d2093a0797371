"""The feature cache: what the frozen encoders say of each clip, read in place of the clip.

A split is kept as one ArrayRecord file of clean clips, and for training one or more of hurt renditions with the steps
that were hurt. A record is a safetensors blob of one clip's arrays: `{modality}/features` float16 [t, D], `.../mask`,
`.../clean` and `.../supervised` [t], and what a batch holds beside them.
"""

import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import grain
import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from safetensors.numpy import load, save

from emi_jax.errors import UserError
from emi_jax.inputs.corruption import segment
from emi_jax.inputs.transforms import Arrays
from emi_jax.modalities import MODALITIES, STEPWISE

CLEAN = "clean"


def hurt(rendition: int) -> str:
    """The name of a hurt rendition."""
    return f"hurt-{rendition}"


class FeatureCache:
    """A folder of cached features of one set of weights, preprocessing and data."""

    def __init__(self, folder: str | Path, fingerprints: Mapping[str, str]):
        """Opens the folder, which may be empty.

        Args:
            folder: of the cache.
            fingerprints: by modality in use, a hash of weights, preprocessing and data. The folder may hold features of
                further modalities.

        Raises:
            UserError: the folder holds other features of a modality in use, or none.
        """
        self.folder = Path(folder)
        self._facts, self._fingerprints = self.folder / "features.json", dict(fingerprints)
        if not self._facts.exists():
            return
        found = json.loads(self._facts.read_text())["fingerprints"]
        advice = "delete the folder, or name another with --config.features.dir"
        for modality, expected in fingerprints.items():
            if modality not in found:
                raise UserError(f"features in {self.folder} are of {', '.join(found)} and lack {modality}; {advice}")
            if found[modality] != expected:
                raise UserError(
                    f"features in {self.folder} were made from other weights, preprocessing or data ({modality}: "
                    f"fingerprint {found[modality][:12]}, expected {expected[:12]}); {advice}"
                )

    def has(self, split: str, rendition: str) -> bool:
        """Whether a rendition of a split is there, whole."""
        return self._path(split, rendition).exists()

    def write(self, split: str, rendition: str, clips: Iterable[Arrays]) -> None:
        """Keeps a rendition of a split; an unfinished one never passes for whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._facts.exists():
            if further := json.loads(self._facts.read_text())["fingerprints"].keys() - self._fingerprints.keys():
                raise UserError(
                    f"features in {self.folder} also hold {', '.join(sorted(further))}, which this run does not use: "
                    f"write those of {split} with a run that uses all of them, or name another folder with "
                    "--config.features.dir"
                )
        else:
            self._facts.write_text(json.dumps({"fingerprints": self._fingerprints}) + "\n")
        path = self._path(split, rendition)
        part = path.with_name(path.name + ".part")
        writer = ArrayRecordWriter(str(part), "group_size:1")
        for clip in clips:
            writer.write(save({name: np.array(array, order="C") for name, array in clip.items()}))
        writer.close()
        part.replace(path)

    def read(self, split: str, renditions: Sequence[str]) -> "CachedClips":
        """The clips of a split in the renditions named, the first of them the one that counts as clean."""
        return CachedClips([grain.sources.ArrayRecordDataSource(str(self._path(split, name))) for name in renditions])

    def _path(self, split: str, rendition: str) -> Path:
        return self.folder / f"{split}-{rendition}.array_record"


@dataclasses.dataclass(frozen=True)
class CachedClips:
    """Random access to the cached clips of a split: each a function from a rendition's number (0: clean) to arrays."""

    sources: list

    def __len__(self) -> int:
        return len(self.sources[0])

    def __getitem__(self, index: int) -> "CachedClip":
        return CachedClip(self.sources, index)


@dataclasses.dataclass(frozen=True)
class CachedClip:
    """One clip; its renditions are read when they are asked for."""

    sources: list
    index: int

    def rendition(self, number: int) -> Arrays:
        """The arrays of a rendition, 0 for the clean one."""
        return load(self.sources[number][self.index])


@dataclasses.dataclass(frozen=True)
class CachedTransform:
    """Turns a cached clip into the arrays of one place in a batch.

    Attributes:
        modalities: those in use; the cache may hold more.
        template: any clip's arrays, for the shapes of padding.
        corrupt: in training, the chance that a segment of a modality is taken from a hurt rendition.
    """

    modalities: tuple[str, ...]
    template: Mapping[str, np.ndarray]
    corrupt: float = 0.0

    def __call__(self, clip: CachedClip, rng: np.random.Generator, index: int) -> Arrays:
        """The arrays of one clip, without the batch axis."""
        arrays = self._used(clip.rendition(0))
        for modality in self.modalities:
            mask = arrays[f"{modality}/mask"]
            if mask.any() and rng.random() < self.corrupt:
                steps = segment(rng, mask)
                other = clip.rendition(int(rng.integers(1, len(clip.sources))))
                for name in STEPWISE:
                    key = f"{modality}/{name}"
                    arrays[key] = arrays[key].copy()
                    arrays[key][steps] = other[key][steps]
        return arrays

    @functools.cached_property
    def padding(self) -> Arrays:
        """A free place of a batch: nothing is present, known or valid."""
        return {name: np.zeros_like(array) for name, array in self._used(self.template).items()} | {
            "clip": np.asarray(-1, np.int32)
        }

    def _used(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """Without the steps of modalities that are not in use."""
        return {name: array for name, array in arrays.items() if name.partition("/")[0] not in self._unused}

    @functools.cached_property
    def _unused(self) -> set[str]:
        return set(MODALITIES) - set(self.modalities)


def rows(outputs: Iterable[Mapping[str, np.ndarray]]) -> Iterator[Arrays]:
    """The valid clips of a sequence of batches, one by one."""
    for batch in outputs:
        for place in np.flatnonzero(batch["valid"]):
            yield {name: array[place] for name, array in batch.items()}
