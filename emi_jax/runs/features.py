"""Opens the inputs of a split: its clips, or cached features of frozen encoders, which are extracted if missing."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils

from emi_jax.errors import UserError
from emi_jax.inputs import corruption
from emi_jax.inputs.augmentation import Augmentation
from emi_jax.inputs.cached import CachedClips, CachedTransform, FixedClips, PartlyCachedClips, PartlyCachedTransform
from emi_jax.inputs.dataset import transcript
from emi_jax.inputs.features import CLEAN, FeatureCache, augmented, corrupted, rows
from emi_jax.inputs.loader import RandomAccess
from emi_jax.inputs.regrouped import Selected, base_of, places_of
from emi_jax.inputs.transforms import ClipTransform, Transform
from emi_jax.modalities import AUDIO, TEXT, VISION
from emi_jax.models.readout import readouts_of
from emi_jax.runs.experiment import Experiment
from emi_jax.runs.lengths import length_buckets
from emi_jax.runs.standardisation import SUBJECT, choice, of_subjects
from emi_jax.stages.intensity import Intensity
from emi_jax.train import parameters
from emi_jax.train.evaluation import Evaluator
from emi_jax.train.processes import decide_in_first, is_first
from emi_jax.train.step import Batch

log = logging.getLogger(__name__)


def inputs(experiment: Experiment, split: str, augment: bool) -> tuple[RandomAccess, Transform]:
    """Opens a split: its clips or, if the config names a folder for them, the cached features of frozen encoders.

    Args:
        experiment: the run.
        split: name of the split.
        augment: for training: augmentation, of what is cached by its renditions, and corruption if the config has it.
    """
    config, modalities = experiment.config, experiment.transform.shape.modalities
    _log_cut_texts(experiment, split)
    corrupt = config.train.corrupt if augment else 0.0
    within_subjects = choice(experiment)[0] == SUBJECT
    if within_subjects and not config.features.dir:
        raise UserError("config.features.standardise=subject needs a feature cache: name it with --config.features.dir")
    augmentation = Augmentation(**config.augment) if augment else Augmentation()
    reading = dataclasses.replace(experiment.transform, augment=augment, augmentation=augmentation, corrupt=corrupt)
    if not config.features.dir:
        log.info("%s: clips, encoded in every step", split)
        return experiment.dataset.split(split), reading
    cached = cached_clips(experiment, split, renditions(experiment, split))
    head = experiment.stage.fusion if isinstance(experiment.stage, Intensity) else None
    # Statistics of what is read out change in training.
    pooled = getattr(head, "statistics", False) and not readouts_of(experiment.encoders.towers).names
    sequences = not pooled or getattr(head, "reads_sequences", True)
    moments = of_subjects(cached, experiment.dataset.index(split), modalities, split) if within_subjects else ()
    copies = config.features.get("renditions", 0) if augmentation.changes else 0
    transform = CachedTransform(cached[0].rendition(0), corrupt, copies, moments, pooled, sequences)
    raw = tuple(name for name in modalities if name not in cached.sources)
    if not raw:
        log.info("%s: features from %s", split, config.features.dir)
        return FixedClips(cached.sources, transform=transform) if transform.is_fixed else cached, transform
    names = ", ".join(cached.sources)
    log.info("%s: features of %s from %s; %s encoded in every step", split, names, config.features.dir, ", ".join(raw))
    shape = dataclasses.replace(reading.shape, modalities=raw)
    reading = dataclasses.replace(reading, shape=shape, describers={}, own={})
    return PartlyCachedClips(experiment.dataset.split(split), cached), PartlyCachedTransform(reading, transform)


def _log_cut_texts(experiment: Experiment, split: str) -> None:
    transform, index = experiment.transform, experiment.dataset.index(split)
    if transform.reader is None or TEXT in transform.own or TEXT not in transform.shape.modalities:
        return
    texts = [transcript(index[row]) for row in range(len(index))]
    if cut := transform.reader.count_cut(texts):
        length = transform.shape.num_tokens
        log.warning("%s: of %d of %d transcripts only the first %d tokens are read", split, cut, len(texts), length)


def cached_part(examples: RandomAccess) -> CachedClips | None:
    """The cached part of what `inputs` returns; None if nothing is cached."""
    if isinstance(examples, PartlyCachedClips):
        return examples.cached
    return examples if isinstance(examples, CachedClips) else None


def renditions(experiment: Experiment, split: str) -> dict[str, Transform]:
    """The transforms of a split's renditions by name: the clean one and, for training, those that the config asks for.

    Without augmentation these are corrupted copies; with it, augmented copies and then their corrupted ones.
    """
    config, plain = experiment.config, experiment.transform
    found: dict[str, Transform] = {CLEAN: plain}
    count = config.features.get("renditions", 0) if split == "train" else 0
    augmentation = Augmentation(**config.augment)
    changed = {corrupted(number): plain for number in range(count)}
    if augmentation.changes:
        changed = {
            augmented(augmentation, number): dataclasses.replace(plain, augmentation=augmentation, rendition=number)
            for number in range(count)
        }
        found |= changed
        changed = {f"{name}-corrupted": transform for name, transform in changed.items()}
    if config.train.corrupt:
        found |= {name: dataclasses.replace(transform, corrupt=1.0) for name, transform in changed.items()}
    return found


def cached_clips(experiment: Experiment, split: str, transforms: Mapping[str, Transform]) -> CachedClips:
    """The cached features of a split, extracted if missing; of a regrouped split from those of the dataset's own.

    Args:
        experiment: the run.
        split: name of the split.
        transforms: those of the renditions to read, by name, the clean one first.
    """
    places = places_of(experiment.dataset, split)
    names, bases = list(transforms), dict.fromkeys(base for base, _ in places)
    read = {base: extract(experiment, base, transforms).read(base, names) for base in bases}
    if experiment.dataset is base_of(experiment.dataset):
        return read[split]

    def selected(modality: str, rendition: int) -> Selected:
        return Selected({name: clips.sources[modality][rendition] for name, clips in read.items()}, places)

    modalities = next(iter(read.values())).sources
    return CachedClips({name: [selected(name, k) for k in range(len(names))] for name in modalities})


def extract(experiment: Experiment, split: str, transforms: Mapping[str, Transform] | None = None) -> FeatureCache:
    """Writes the frozen encoders' features of a split of the dataset as it was prepared, if they are missing.

    Args:
        experiment: the run.
        split: name of the split.
        transforms: transforms of the renditions, by name; those of `renditions` by default.

    Raises:
        UserError: the config names no folder, or all encoders are trained.
    """
    folder = experiment.config.features.dir
    if not folder:
        raise UserError("features are cached in a folder: name it with --config.features.dir=FOLDER")
    trained = experiment.stage.trained_towers
    frozen = [name for name in experiment.transform.shape.modalities if name not in trained]
    if not frozen:
        raise UserError(
            f"every encoder is trained ({', '.join(trained)}), so that no features can be cached: freeze one with "
            "--config.train.frozen, or switch the cache off with --config.features.dir="
        )
    experiment = dataclasses.replace(experiment, dataset=base_of(experiment.dataset))
    params = experiment.initial_params()[1].get("towers", {})
    cache = FeatureCache(folder, {name: _fingerprint(experiment, name, params.get(name)) for name in frozen})
    transforms = transforms or renditions(experiment, split)

    def missing() -> dict[str, tuple[str, ...]]:
        def lacks(modality: str, rendition: str) -> bool:
            return not decide_in_first(functools.partial(cache.has, modality, split, rendition))

        found = {rendition: tuple(name for name in frozen if lacks(name, rendition)) for rendition in transforms}
        return {rendition: names for rendition, names in found.items() if names}

    if missing():
        on_devices = experiment.mapping.replicate({name: params[name] for name in frozen if name in params})
        encoder = functools.cache(functools.partial(_encoder, experiment, split))
        with cache.sole_writer() if is_first() else contextlib.nullcontext():
            for rendition, names in missing().items():  # excludes what another run has written in the meantime
                kept = jax.eval_shape(_kept(experiment, names), params, experiment.stage.example)
                examples, transform = experiment.dataset.split(split), transforms[rendition]
                size = sum(array.size * array.dtype.itemsize for array in kept.values()) * len(examples)
                what = f"{', '.join(names)} of {split}, {rendition}"
                log.info("features of %s: %.2g GB are written to %s", what, size / 1e9, cache.folder)
                augmentation = transform.augmentation if isinstance(transform, ClipTransform) else None
                buckets = length_buckets(experiment, split, augmentation)
                encoded = encoder(names).over(examples, transform, buckets=buckets)
                seed = list(transforms).index(rendition)
                shapes = {name: array.shape[1:] for name, array in kept.items()}
                clips = rows(encoded.outputs(on_devices, is_first(), seed), shapes)
                if is_first():
                    cache.write(split, rendition, clips, names)
                else:  # this process only takes part in the encoding
                    collections.deque(clips, maxlen=0)
        multihost_utils.sync_global_devices(f"features of {split} are written")
    return cache


def _fingerprint(experiment: Experiment, modality: str, tower: dict | None) -> str:
    """A hash of everything that determines a modality's features; `tower` holds its parameters, if it has any."""
    shape = experiment.transform.shape
    sizes: dict[str, Any] = {VISION: (shape.num_frames, shape.frame_rate, shape.image_size)}
    sizes |= {AUDIO: shape.num_samples, TEXT: shape.num_tokens}
    sizes |= dict.fromkeys(experiment.transform.own, shape.num_steps)
    facts = (
        experiment.config.stage,
        parameters.fingerprint(tower) if tower else "",
        experiment.encoders.preprocessing[modality],
        experiment.dataset.fingerprint,
        repr(sizes[modality]),
        corruption.settings(),
    )
    return hashlib.sha256(" ".join(facts).encode()).hexdigest()


def _kept(experiment: Experiment, modalities: Sequence[str]) -> Any:
    """The function (parameters of towers, batch) -> the arrays that the cache keeps of some modalities.

    Users' own features stay float32: their columns may be of any size.
    """
    halved = {f"{name}/features" for name in modalities if name not in experiment.encoders.own}

    def kept(towers: dict, batch: Batch) -> dict[str, jax.Array]:
        arrays = experiment.stage.features(towers, batch, modalities)
        return {name: array.astype(jnp.float16) if name in halved else array for name, array in arrays.items()}

    return kept


def _encoder(experiment: Experiment, split: str, modalities: Sequence[str]) -> Evaluator:
    """An evaluator that returns what the cache keeps of some modalities instead of predictions."""
    examples, batch_size = experiment.dataset.split(split), experiment.config.train.batch_size
    function, transform, threads = _kept(experiment, modalities), experiment.transform, experiment.config.data.threads
    stage, mapping = experiment.stage, experiment.mapping
    return Evaluator(stage, mapping, examples, transform, batch_size, split, function, threads=threads)
