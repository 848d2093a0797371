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
from emi_jax.modalities import STEPWISE

CLEAN = "clean"


def hurt(rendition: int) -> str:
    """The name of a hurt rendition."""
    return f"hurt-{rendition}"


class FeatureCache:
    """A folder of cached features of one set of weights, preprocessing and data."""

    def __init__(self, folder: str | Path, fingerprint: str):
        """Opens the folder, which may be empty.

        Args:
            folder: of the cache.
            fingerprint: stands for weights, preprocessing and data.

        Raises:
            UserError: the folder holds features of others.
        """
        self.folder = Path(folder)
        facts = self.folder / "features.json"
        if facts.exists() and (found := json.loads(facts.read_text())["fingerprint"]) != fingerprint:
            raise UserError(
                f"features in {self.folder} were made from other weights, preprocessing or data (fingerprint "
                f"{found[:12]}, expected {fingerprint[:12]}); delete the folder, or name another with "
                "--config.features.dir"
            )
        self._facts, self._fingerprint = facts, fingerprint

    def has(self, split: str, rendition: str) -> bool:
        """Whether a rendition of a split is there, whole."""
        return self._path(split, rendition).exists()

    def write(self, split: str, rendition: str, clips: Iterable[Arrays]) -> None:
        """Keeps a rendition of a split; an unfinished one never passes for whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._facts.write_text(json.dumps({"fingerprint": self._fingerprint}) + "\n")
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
        modalities: those in use.
        template: any clip's arrays, for the shapes of padding.
        corrupt: in training, the chance that a segment of a modality is taken from a hurt rendition.
    """

    modalities: tuple[str, ...]
    template: Mapping[str, np.ndarray]
    corrupt: float = 0.0

    def __call__(self, clip: CachedClip, rng: np.random.Generator, index: int) -> Arrays:
        """The arrays of one clip, without the batch axis."""
        arrays = clip.rendition(0)
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
        return {name: np.zeros_like(array) for name, array in self.template.items()} | {
            "clip": np.asarray(-1, np.int32)
        }


def rows(outputs: Iterable[Mapping[str, np.ndarray]]) -> Iterator[Arrays]:
    """The valid clips of a sequence of batches, one by one."""
    for batch in outputs:
        for place in np.flatnonzero(batch["valid"]):
            yield {name: array[place] for name, array in batch.items()}
