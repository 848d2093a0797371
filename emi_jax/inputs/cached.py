"""Clips of the feature cache, and how they become the arrays of one place in a batch, alone or next to raw inputs."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from joblib import cpu_count
from safetensors.numpy import load

from emi_jax.descriptors.statistics import pooled_statistics
from emi_jax.inputs.corruption import segment
from emi_jax.inputs.loader import RandomAccess, stack
from emi_jax.inputs.transforms import Arrays, ClipTransform
from emi_jax.modalities import STEPWISE
from emi_jax.progress import progress_bar


@dataclasses.dataclass(frozen=True)
class CachedClips:
    """Random access to the cached clips of a split.

    Attributes:
        sources: for each modality its renditions, sequences of records; the first is the clean one.
    """

    sources: Mapping[str, Sequence[Any]]
    _kept: dict[tuple[int, str], Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(next(iter(self.sources.values()))[0])

    def __getitem__(self, index: int) -> "CachedClip":
        return CachedClip(self.sources, index, self._kept)


@dataclasses.dataclass(frozen=True)
class CachedClip:
    """One clip, whose renditions are read on demand."""

    sources: Mapping[str, Sequence[Any]]
    index: int
    _kept: dict[tuple[int, str], Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    def rendition(self, number: int) -> Arrays:
        """The arrays of all modalities in a rendition, 0 for the clean one."""
        parts = [self.part(modality, number) for modality in self.sources]
        arrays = {name: array for part in parts for name, array in part.items()}
        if "present" in arrays:
            arrays["present"] = np.any([part["present"] for part in parts], axis=0)
        return arrays

    def part(self, modality: str, number: int) -> Arrays:
        """The arrays of one modality in a rendition, and the clip's other arrays."""
        return load(self.sources[modality][number][self.index])

    def pooled(self, modality: str) -> np.ndarray:
        """The statistics over time of a modality in the clean rendition, [6 D], computed once for each clip."""
        if (self.index, modality) not in self._kept:
            self._keep(self.part(modality, 0), [modality])
        return self._kept[self.index, modality]

    def outline(self) -> Arrays:
        """The clean rendition without its features, whose width is 0; read once for each clip."""
        if (self.index, "") not in self._kept:
            arrays = self.rendition(0)
            self._keep(arrays, self.sources)
            self._kept[self.index, ""] = without_features(arrays)
        return dict(self._kept[self.index, ""])

    def _keep(self, arrays: Arrays, modalities: Iterable[str]) -> None:
        for name in modalities:
            self._kept[self.index, name] = pooled_statistics(arrays[f"{name}/features"], arrays[f"{name}/mask"])


@dataclasses.dataclass(frozen=True)
class CachedTransform:
    """Turns a cached clip into the arrays of one place in a batch.

    Attributes:
        template: any clip's arrays, for the shapes of padding.
        corrupt: in training, the probability that a segment of a modality comes from a corrupted rendition.
        augmented: for training, number of augmented renditions, which follow the clean one and take its place. If there
            are corrupted renditions, they are of these, in the same order.
        moments: further arrays for each clip, by its row: the moments of its subject.
        pooled: whether to add the statistics over time of each modality, `{modality}/pooled` float32 [6 D].
        sequences: whether the features of the steps are read; otherwise their width is 0, and training on statistics
            reads each clip once.
    """

    template: Mapping[str, np.ndarray]
    corrupt: float = 0.0
    augmented: int = 0
    moments: Sequence[Mapping[str, np.ndarray]] = ()
    pooled: bool = False
    sequences: bool = True

    def __call__(self, clip: CachedClip, rng: np.random.Generator, index: int) -> Arrays:
        """The arrays of one clip, without the batch axis."""
        copy = int(rng.integers(1, self.augmented + 1)) if self.augmented else 0
        arrays = clip.rendition(copy) if self.sequences or self.corrupt or copy else clip.outline()
        for modality, renditions in clip.sources.items():
            mask = arrays[f"{modality}/mask"]
            corrupted = mask.any() and rng.random() < self.corrupt
            if corrupted:
                steps = segment(rng, mask)
                # Segments are exchanged with a copy of the same augmentation, whose steps are at the same times.
                number = self.augmented + copy if copy else int(rng.integers(1, len(renditions)))
                other = clip.part(modality, number)
                for name in STEPWISE:
                    key = f"{modality}/{name}"
                    arrays[key] = arrays[key].copy()
                    arrays[key][steps] = other[key][steps]
            if self.pooled:
                features = arrays[f"{modality}/features"]
                changed = corrupted or copy
                arrays[f"{modality}/pooled"] = pooled_statistics(features, mask) if changed else clip.pooled(modality)
        arrays["clip"] = np.asarray(clip.index, np.int32)  # in this split; the record's own is that of the cached one
        if not self.sequences:
            arrays = without_features(arrays)
        return arrays | dict(self.moments[clip.index]) if self.moments else arrays

    @property
    def is_fixed(self) -> bool:
        """Whether a clip has the same arrays, without a sequence, in every step."""
        return not (self.sequences or self.corrupt or self.augmented or self.moments)

    @functools.cached_property
    def padding(self) -> Arrays:
        """The arrays of an unused place in a batch: nothing is present, known or valid."""
        moments = self.moments[0] if self.moments else {}
        empty = {name: np.zeros_like(array) for name, array in self.template.items()}
        empty |= {name: np.ones_like(array) for name, array in moments.items()}
        if self.pooled:
            features = [name for name in empty if name.endswith("/features")]
            widths = {name.removesuffix("/features"): empty[name].shape[-1] for name in features}
            empty |= {f"{name}/pooled": np.zeros(6 * width, np.float32) for name, width in widths.items()}
        if not self.sequences:
            empty = without_features(empty)
        return empty | {"clip": np.asarray(-1, np.int32)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FixedClips(CachedClips):
    """Cached clips with the transform that always makes the same arrays of them: batches are gathered from all rows."""

    transform: CachedTransform

    @functools.cached_property
    def rows(self) -> Arrays:
        """The arrays of all clips [n + 1, ...], the last row those of an unused place. Each clip is read once."""
        rng = np.random.default_rng(0)  # nothing depends on what it draws

        def read(index: int) -> Arrays:
            return self.transform(self[index], rng, index)

        with ThreadPoolExecutor(cpu_count()) as threads:
            read_all = threads.map(read, range(len(self)))
            clips = list(progress_bar(read_all, total=len(self), desc="statistics", unit="clip", leave=False))
        rows = stack([*clips, self.transform.padding])
        self._kept.update(
            {(index, name): rows[f"{name}/pooled"][index] for name in self.sources for index in range(len(self))}
        )  # in place of copies
        return rows


def without_features(arrays: Arrays) -> Arrays:
    """A clip's arrays with features [t, 0]."""
    return {name: array[:, :0] if name.endswith("/features") else array for name, array in arrays.items()}


@dataclasses.dataclass(frozen=True)
class PartlyCachedClips:
    """Random access to the clips of a split of which some modalities are cached: pairs of an example and those."""

    examples: RandomAccess
    cached: CachedClips

    def __len__(self) -> int:
        return len(self.cached)

    def __getitem__(self, index: int) -> tuple[Any, CachedClip]:
        return self.examples[index], self.cached[index]


@dataclasses.dataclass(frozen=True)
class PartlyCachedTransform:
    """Turns a clip of `PartlyCachedClips` into the arrays of one place in a batch.

    Attributes:
        raw: reads the modalities whose encoders are trained.
        cached: reads the features of the others.
    """

    raw: ClipTransform
    cached: CachedTransform

    def __call__(self, clip: tuple[Any, CachedClip], rng: np.random.Generator, index: int) -> Arrays:
        """The arrays of one clip, without the batch axis."""
        example, features = clip
        return _joined(self.raw(example, rng, index), self.cached(features, rng, index))

    @functools.cached_property
    def padding(self) -> Arrays:
        """The arrays of an unused place in a batch: nothing is present, known or valid."""
        return _joined(self.raw.padding, self.cached.padding)


def _joined(raw: Arrays, cached: Arrays) -> Arrays:
    """The arrays of different modalities of one clip."""
    return raw | cached | {"present": raw["present"] | cached["present"]}
