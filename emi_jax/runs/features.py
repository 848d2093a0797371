"""Opens the inputs of a split: its clips, or cached features of frozen encoders, which are extracted if missing."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils

from emi_jax.errors import UserError
from emi_jax.inputs import corruption
from emi_jax.inputs.augmentation import Augmentation
from emi_jax.inputs.features import CLEAN, CachedClips, CachedTransform, FeatureCache, corrupted, rows
from emi_jax.inputs.loader import RandomAccess
from emi_jax.inputs.regrouped import Selected, base_of, places_of
from emi_jax.inputs.transforms import Transform
from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.standardisation import SUBJECT, choice, of_subjects
from emi_jax.stages.intensity import Intensity
from emi_jax.train import parameters
from emi_jax.train.evaluation import Evaluator
from emi_jax.train.processes import decide_in_first, is_first
from emi_jax.train.step import Batch

log = logging.getLogger(__name__)


def inputs(experiment: Experiment, split: str, augment: bool) -> tuple[RandomAccess, Transform]:
    """Opens a split: its clips, or cached features if the config names a folder for them.

    Args:
        experiment: the run.
        split: name of the split.
        augment: for training: augmentation, and corruption if the config has it.
    """
    config = experiment.config
    corrupt = config.train.corrupt if augment else 0.0
    within_subjects = choice(experiment)[0] == SUBJECT
    if within_subjects and not config.features.dir:
        raise UserError("config.features.standardise=subject needs a feature cache: name it with --config.features.dir")
    if not config.get("features", {}).get("dir"):
        log.info("%s: clips, encoded in every step", split)
        augmentation = Augmentation(**config.augment) if augment else Augmentation()
        return experiment.dataset.split(split), dataclasses.replace(
            experiment.transform, augment=augment, augmentation=augmentation, corrupt=corrupt
        )
    cached = cached_clips(experiment, split, renditions(experiment, split))
    log.info("%s: features from %s", split, config.features.dir)
    modalities = experiment.transform.shape.modalities
    pooled = isinstance(experiment.stage, Intensity) and getattr(experiment.stage.fusion, "statistics", False)
    moments = of_subjects(cached, experiment.dataset.texts(split), modalities, split) if within_subjects else ()
    return cached, CachedTransform(modalities, cached[0].rendition(0), corrupt, moments, pooled)


def renditions(experiment: Experiment, split: str) -> list[str]:
    """The names of a split's renditions: the clean one and, for training with corruption, the corrupted ones."""
    config = experiment.config
    count = config.features.renditions if split == "train" and config.train.corrupt else 0
    return [CLEAN, *map(corrupted, range(count))]


def cached_clips(experiment: Experiment, split: str, names: Sequence[str]) -> CachedClips:
    """The cached features of a split, extracted if missing; of a regrouped split from those of the dataset's own.

    Args:
        experiment: the run.
        split: name of the split.
        names: the renditions to read, the clean one first.
    """
    places = places_of(experiment.dataset, split)
    transforms = _transforms(experiment, names)
    read = {
        name: extract(experiment, name, transforms).read(name, names) for name in dict.fromkeys(s for s, _ in places)
    }
    if experiment.dataset is base_of(experiment.dataset):
        return read[split]
    sources = [Selected({name: clips.sources[k] for name, clips in read.items()}, places) for k in range(len(names))]
    return CachedClips(sources)


def extract(experiment: Experiment, split: str, transforms: Mapping[str, Transform] | None = None) -> FeatureCache:
    """Writes the frozen encoders' features of a split of the dataset as it was prepared, if they are missing.

    Args:
        experiment: the run.
        split: name of the split.
        transforms: transforms of the renditions, by name; those of `renditions` by default.

    Raises:
        UserError: the stage uses no feature cache, or trains the encoders that would fill it.
    """
    stage, config = experiment.stage, experiment.config
    folder = config.get("features", {}).get("dir")
    if not isinstance(stage, Intensity) or not folder:
        raise UserError("features are cached only in stage 2, in a folder named with --config.features.dir=FOLDER")
    if stage.trained_towers:
        raise UserError(
            f"the {' and '.join(stage.trained_towers)} encoder is trained, so that its features cannot be kept: "
            "freeze it with --config.train.frozen, or switch the cache off with --config.features.dir="
        )
    experiment = dataclasses.replace(experiment, dataset=base_of(experiment.dataset))
    frozen = experiment.initial_params()[1].get("towers", {})
    modalities = experiment.transform.shape.modalities
    cache = FeatureCache(folder, {name: _fingerprint(experiment, name, frozen.get(name)) for name in modalities})
    transforms = transforms or _transforms(experiment, renditions(experiment, split))

    def missing() -> dict[int, str]:
        found = [decide_in_first(functools.partial(cache.has, split, name)) for name in transforms]
        return {seed: name for seed, name in enumerate(transforms) if not found[seed]}

    if missing():
        towers, encoder = experiment.mapping.replicate(frozen), _encoder(experiment, split)
        with cache.sole_writer() if is_first() else contextlib.nullcontext():
            for seed, name in missing().items():  # excludes what another run has written in the meantime
                log.info("features of %s, %s: written to %s", split, name, cache.folder)
                encoded = encoder.over(experiment.dataset.split(split), transforms[name])
                clips = rows(encoded.outputs(towers, is_first(), seed))
                if is_first():
                    cache.write(split, name, clips)
                else:  # this process only takes part in the encoding
                    collections.deque(clips, maxlen=0)
        multihost_utils.sync_global_devices(f"features of {split} are written")
    return cache


def _transforms(experiment: Experiment, names: Sequence[str]) -> dict[str, Transform]:
    """The transforms of renditions by name."""
    corrupting = dataclasses.replace(experiment.transform, corrupt=1.0)
    return {name: experiment.transform if name == CLEAN else corrupting for name in names}


def _fingerprint(experiment: Experiment, modality: str, tower: dict | None) -> str:
    """A hash of everything that determines a modality's features; `tower` holds its parameters, if it has any."""
    shape = experiment.transform.shape
    sizes: dict[str, Any] = {VISION: (shape.num_frames, shape.frame_rate, shape.image_size)}
    sizes |= {AUDIO: shape.num_samples, TEXT: shape.num_tokens}
    sizes |= dict.fromkeys(experiment.transform.own, shape.num_steps)
    facts = (
        parameters.fingerprint(tower) if tower else "",
        experiment.encoders.preprocessing[modality],
        experiment.dataset.fingerprint,
        repr(sizes[modality]),
        corruption.settings(),
    )
    return hashlib.sha256(" ".join(facts).encode()).hexdigest()


def _encoder(experiment: Experiment, split: str) -> Evaluator:
    """An evaluator that returns features instead of predictions.

    Users' own features stay float32: their columns may be of any size.
    """
    modalities = experiment.transform.shape.modalities
    halved = {f"{name}/features" for name in modalities if name not in experiment.encoders.own}

    def features(towers: dict, batch: Batch) -> dict[str, jax.Array]:
        steps = cast(Intensity, experiment.stage).encode(towers, batch)
        return {name: array.astype(jnp.float16) if name in halved else array for name, array in steps.items()}

    examples, batch_size = experiment.dataset.split(split), experiment.config.train.batch_size
    return Evaluator(experiment.stage, experiment.mapping, examples, experiment.transform, batch_size, split, features)
